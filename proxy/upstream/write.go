package upstream

import (
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/palisade-security/palisade/proxy/field"
)

const (
	mostInline   = 16 << 10 // a body in memory up to this size is sent with the head, without a goroutine
	mostKeptWire = 64 << 10 // larger buffers are not pooled
)

// wire is a request's head, and its body if that is small and in memory, ready to be written at once.
type wire struct {
	bytes  []byte
	stream bool // the body follows and must be sent beside reading the answer

	rewindable bool // the body is in memory
}

// newWire writes r's head. With upgrade, the connection is asked to switch to that protocol.
func newWire(pool *sync.Pool, r *Request, upgrade string) (*wire, error) {
	w, ok := pool.Get().(*wire)
	if !ok {
		w = &wire{bytes: make([]byte, 0, 2<<10)}
	}
	err := w.build(r, upgrade)
	if err != nil {
		w.free(pool)
		return nil, err
	}
	return w, nil
}

func (w *wire) free(pool *sync.Pool) {
	if cap(w.bytes) <= mostKeptWire {
		pool.Put(w)
	}
}

func (w *wire) build(r *Request, upgrade string) error {
	var err error
	if w.bytes, err = appendHead(w.bytes[:0], r, upgrade); err != nil {
		return err
	}
	w.stream = r.hasBody()
	w.rewindable = w.stream && r.Rewind != nil && r.Rewind()
	if !w.rewindable || r.ExpectContinue || r.Length < 0 || r.Length > mostInline {
		return nil
	}
	w.stream = false
	at := len(w.bytes)
	w.bytes = append(w.bytes, make([]byte, r.Length)...)
	if _, err := io.ReadFull(r.Body, w.bytes[at:]); err != nil {
		return bodyError(short(err))
	}
	return nil
}

// short turns the end of a source that came too early into the error that says so.
func short(err error) error {
	if err == io.EOF { //nolint:errorlint // only the bare value is an ordinary end
		return io.ErrUnexpectedEOF
	}
	return err
}

func (r *Request) hasBody() bool { return r.Body != nil && r.Length != 0 }

// checkRequest refuses what is no request, but for its fields.
func checkRequest(r *Request) error {
	switch {
	case !isToken(r.Method) || r.Method == "CONNECT":
		return unsendable("method")
	case !isTarget(r.Target), r.Target == "*" && r.Method != "OPTIONS":
		return unsendable("target")
	case !isHost(r.Host):
		return unsendable("host")
	case r.Body == nil && r.Length != 0 || r.Length < -1:
		return unsendable("length")
	}
	return nil
}

// appendHead appends the head of r (RFC 9112, sections 3 and 5). It refuses everything that a service could
// read as more or other than one request.
func appendHead(b []byte, r *Request, upgrade string) ([]byte, error) {
	if err := checkRequest(r); err != nil {
		return b, err
	}
	b = append(b, r.Method...)
	b = append(b, ' ')
	b = append(b, r.Target...)
	b = append(b, " HTTP/1.1\r\n"...)
	b = appendField(b, "Host", r.Host)
	acceptsTrailers := false
	for i := range r.Header {
		f := &r.Header[i]
		if !isToken(f.Name) || !isFieldValue(f.Value) {
			return b, unsendable("field")
		}
		switch ownership(f.Name) {
		case ownedTrailer:
			if r.Length >= 0 || r.Trailer == nil {
				continue
			}
			if !announces(f.Value) {
				return b, unsendable("announced trailer")
			}
		case ownedTE:
			acceptsTrailers = acceptsTrailers || hasToken(f.Value, "trailers")
			continue
		case ownedAlways:
			continue
		case owned:
		}
		b = appendField(b, f.Name, f.Value)
	}
	b = appendConnection(b, acceptsTrailers, upgrade)
	b = appendFraming(b, r)
	return append(b, "\r\n"...), nil
}

func appendField(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}

// appendConnection appends the fields of the connection; TE is one of them (RFC 9110, section 10.1.4).
func appendConnection(b []byte, acceptsTrailers bool, upgrade string) []byte {
	if acceptsTrailers {
		b = appendField(b, "Te", "trailers")
	}
	switch {
	case upgrade != "" && acceptsTrailers:
		b = appendField(b, "Connection", "Upgrade, TE")
	case upgrade != "":
		b = appendField(b, "Connection", "Upgrade")
	case acceptsTrailers:
		b = appendField(b, "Connection", "TE")
	}
	if upgrade != "" {
		b = appendField(b, "Upgrade", upgrade)
	}
	return b
}

func appendFraming(b []byte, r *Request) []byte {
	switch {
	case !r.hasBody():
		// A method that means content must say that there is none (RFC 9110, section 8.6).
		if r.Method == "POST" || r.Method == "PUT" || r.Method == "PATCH" {
			b = appendField(b, "Content-Length", "0")
		}
		return b
	case r.Length < 0:
		b = appendField(b, "Transfer-Encoding", "chunked")
	default:
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, r.Length, 10)
		b = append(b, "\r\n"...)
	}
	if r.ExpectContinue {
		b = appendField(b, "Expect", "100-continue")
	}
	return b
}

// Who decides whether a field of the list is sent.
type owner uint8

const (
	owned        owner = iota // the caller
	ownedAlways               // the transport writes it itself where needed
	ownedTrailer              // sent if trailers follow
	ownedTE                   // sent if it says "trailers"
)

// ownership decides by length first: it runs for every field of every request.
func ownership(name string) owner {
	is := func(n string) bool { return strings.EqualFold(name, n) }
	always := false
	switch len(name) {
	case 2:
		if is("TE") {
			return ownedTE
		}
	case 4:
		always = is("Host")
	case 6:
		always = is("Expect")
	case 7:
		if is("Trailer") {
			return ownedTrailer
		}
		always = is("Upgrade")
	case 10:
		always = is("Connection") || is("Keep-Alive")
	case 14:
		always = is("Content-Length") || is("HTTP2-Settings")
	case 16:
		always = is("Proxy-Connection")
	case 17:
		always = is("Transfer-Encoding")
	}
	if always {
		return ownedAlways
	}
	return owned
}

// announces reports whether a Trailer field names only fields that may stand in a trailer.
func announces(value string) bool {
	for name := range strings.SplitSeq(value, ",") {
		if name = trimSpace(name); !isToken(name) || !inTrailer(name) {
			return false
		}
	}
	return true
}

func hasToken(value, token string) bool {
	for t := range strings.SplitSeq(value, ",") {
		if strings.EqualFold(trimSpace(t), token) {
			return true
		}
	}
	return false
}

// appendTrailer appends the end of a chunked body: last chunk and trailer section (RFC 9112, section 7.1.2).
func appendTrailer(b []byte, trailer field.List) ([]byte, error) {
	b = append(b, "0\r\n"...)
	for _, f := range trailer {
		if !isToken(f.Name) || !isFieldValue(f.Value) {
			return b, unsendable("trailer field")
		}
		if inTrailer(f.Name) {
			b = appendField(b, f.Name, f.Value)
		}
	}
	return append(b, "\r\n"...), nil
}
