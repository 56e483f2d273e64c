package canon

import "github.com/palisade-security/palisade/proxy"

// Refusal says why a request has no canonical form. Text is one sentence for whoever looks at the record; it
// repeats nothing of the request but the name of a header field.
type Refusal struct {
	Code string // one of the Code constants; stable
	Text string
	Kind proxy.Kind
}

// Error returns the code.
func (r *Refusal) Error() string { return "refused: " + r.Code }

// The reasons for a refusal.
const (
	CodeProtocol      = "protocol-version"
	CodeMethodInvalid = "method-invalid"
	CodeMethodUnknown = "method-unknown"

	CodeTargetForm     = "target-form"     // neither origin-form nor an absolute-form that agrees with Host
	CodeTargetTooLong  = "target-too-long" //
	CodeTargetFragment = "target-fragment"
	CodeTargetByte     = "target-byte" // space, control character or raw non-ASCII byte

	CodePercent         = "percent-encoding" // "%" without two hexadecimal digits
	CodeControl         = "control-character"
	CodeUTF8            = "invalid-utf8" // also overlong forms and surrogates
	CodeEncodedSlash    = "encoded-slash"
	CodeBackslash       = "backslash"
	CodeDotSegment      = "dot-segment"
	CodeEmptySegment    = "empty-segment"
	CodePathParameter   = "path-parameter" // ";"
	CodeDoubleEncoding  = "double-encoding"
	CodeConfusable      = "confusable-character"
	CodeTooManyParams   = "too-many-parameters"
	CodeHostInvalid     = "host-invalid"
	CodeHostConflict    = "host-conflict"
	CodeHostMisdirected = "host-misdirected"

	CodeTooManyHeaders  = "too-many-headers"
	CodeHeaderTooLarge  = "header-too-large"
	CodeHeaderName      = "header-name"
	CodeHeaderValue     = "header-value"
	CodeHeaderShadow    = "header-shadow"    // a name that back ends may take for another one
	CodeHeaderDuplicate = "header-duplicate" // a field that must appear once
	CodeConnection      = "connection-field"
	CodeUpgrade         = "upgrade-invalid"
	CodeExpect          = "expectation-unknown"

	CodeLength           = "content-length"
	CodeTransferEncoding = "transfer-encoding"
	CodeLengthConflict   = "length-conflict"
	CodeContent          = "unexpected-content" // a body where its method gives it no meaning

	CodeForwarded         = "forwarded-invalid"
	CodeForwardedConflict = "forwarded-conflict"
)

// refuse returns a refusal of a malformed request.
func refuse(code, text string) error {
	return &Refusal{Code: code, Text: text, Kind: proxy.KindMalformed}
}

// refuseField returns a refusal that names the header field at fault. Name must be a token; a long one is cut.
func refuseField(code, name, text string) error {
	return &Refusal{Code: code, Text: "header " + short(name) + " " + text, Kind: proxy.KindMalformed}
}

// short cuts a name that is too long to repeat.
func short(name string) string { return name[:min(len(name), 64)] }
