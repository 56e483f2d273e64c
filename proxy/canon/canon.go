// Package canon gives every request one form before anything decides about it: host, path, query and header
// are parsed once, harmless differences are normalised, and whatever two parsers could read differently is
// refused with a reason. What it returns is what is authorised, inspected and forwarded. It neither reads
// from the network nor parses HTTP messages: the front hands it the raw parts. Do not use it for answers.
package canon

import (
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/field"
)

// Limits bound a request's head. Zero means the default.
type Limits struct {
	Target      int // bytes of path and query; default 8 KiB
	Headers     int // field lines; default 100
	HeaderBytes int // names, values and four bytes for each line's punctuation; default 32 KiB
	Params      int // parameters of the query; default 1000
}

// withDefaults fills in what is zero.
func (l Limits) withDefaults() Limits {
	set := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	set(&l.Target, 8<<10)
	set(&l.Headers, 100)
	set(&l.HeaderBytes, 32<<10)
	set(&l.Params, 1000)
	return l
}

// Input is a request's head as it was received.
type Input struct {
	Method string
	Target string // request target as on the wire (RFC 9112, section 3.2), or :path
	Host   string // the Host header, or :authority
	Proto  string // "HTTP/1.0", "HTTP/1.1" or "HTTP/2.0"
	Header field.List
	Limits Limits

	ContentLength    int64    // as the front will read the body: -1 unknown, 0 none
	TransferEncoding []string // codings the front removed from Header, outermost first

	TLS       bool
	SNI       string // server name of the handshake; "" if the client sent none
	CrossHost bool   // accept a Host that differs from SNI

	GetContent bool // accept a body on GET and HEAD

	// Inside tells that the peer has proven to be a member of the mesh, or is the proxy's own service: its transaction
	// token is kept, at most one, to be verified. From anybody else it is hearsay.
	Inside bool
}

// h2 reports whether the request came over HTTP/2.
func (in *Input) h2() bool { return in.Proto == "HTTP/2.0" }

// chunked reports whether the body ends by itself instead of by a length.
func (in *Input) chunked() bool {
	return len(in.TransferEncoding) > 0 || count(in.Header, "Transfer-Encoding") > 0
}

// hasContent reports whether a body follows, or may.
func (in *Input) hasContent() bool { return in.ContentLength != 0 || in.chunked() }

// Output is the canonical request. Its slices are reused when it is passed again.
type Output struct {
	Method string
	Host   string // lower case, A-labels, no port; an IPv6 address in brackets
	Port   uint16 // as the client wrote it; 0: not written

	Path     string   // begins with "/"
	Segments []string // Path without its first slash, split at slashes and decoded; "/" is one empty segment, as is a final slash
	RawQuery string   // without "?"
	Query    []proxy.Param

	// Header has canonical names and trimmed values. Hop-by-hop and identity-bearing fields are gone, as are
	// Host and Expect; Te remains only as "trailers". Content-Length remains for inspection: who forwards
	// frames the body anew.
	Header field.List

	Hop            field.List // the Connection fields as sent: to be inspected, never forwarded
	Upgrade        string     // "websocket", or "" if the connection does not change its protocol
	ExpectContinue bool       // the client waits for 100 (Continue)
	Dropped        []string   // names of fields removed because they could lie about who asks or for what
}

// Canonicalise fills out from in, which it does not change. The error is a *Refusal; then out holds nothing
// to rely on. The zero values of in's options are the strict ones.
func Canonicalise(in *Input, out *Output) error {
	limits := in.Limits.withDefaults()
	out.Upgrade, out.ExpectContinue, out.Dropped = "", false, out.Dropped[:0]
	out.Hop = out.Hop[:0]
	if err := checkMethod(in); err != nil {
		return err
	}
	out.Method = in.Method
	var err error
	if out.Host, out.Port, err = Host(in.Host); err != nil {
		return err
	}
	if err := checkServerName(in, out.Host); err != nil {
		return err
	}
	path, query, err := splitTarget(in, out, limits.Target)
	if err != nil {
		return err
	}
	if out.Path, out.Segments, err = canonicalPath(path, out.Segments[:0]); err != nil {
		return err
	}
	if out.RawQuery, out.Query, err = canonicalQuery(query, out.Query[:0], limits.Params); err != nil {
		return err
	}
	if err := cleanHeader(in, out, limits); err != nil {
		return err
	}
	return checkFraming(in, out)
}

// checkMethod accepts the methods that every hop understands alike (RFC 9110, section 9; RFC 5789), in the
// protocol versions the front speaks.
func checkMethod(in *Input) error {
	switch in.Proto {
	case "HTTP/1.1", "HTTP/2.0", "HTTP/1.0":
	default:
		return refuse(CodeProtocol, "the protocol version is not HTTP/1.0, HTTP/1.1 or HTTP/2")
	}
	switch in.Method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
		return nil
	}
	if !isToken(in.Method) {
		return refuse(CodeMethodInvalid, "the method is not a token")
	}
	return &Refusal{Code: CodeMethodUnknown, Text: "the method is not one this gateway forwards", Kind: proxy.KindMethod}
}
