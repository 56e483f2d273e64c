package h1

import (
	"github.com/palisade-security/palisade/proxy/canon"
	"github.com/palisade-security/palisade/proxy/field"
)

// Follower reads the requests of a connection that somebody else answers, as strictly as a Server reads its own. It says
// where each begins and what it asks; it changes and keeps nothing. One goroutine at a time may use it.
type Follower struct {
	scan  scanner
	frame framing
}

// Head is what the head of a request says.
type Head struct {
	Method, Target, Proto string
	Host                  string // the value of the one Host field; empty: HTTP/1.0 without it
	Header                field.List
	Content               bool // some follows
}

// NewFollower returns a follower of a connection from its first byte on. A head has headerBytes at most.
func NewFollower(headerBytes int) *Follower {
	return &Follower{scan: scanner{limit: headerBytes}}
}

// Next takes the bytes that b begins with, up to the end of a body or of a head, and returns their number. Head is set if it
// took one. If it takes nothing, it must be called again with the same bytes and more behind them. After a refusal nothing that
// follows can be understood. No empty line may stand before a head.
func (f *Follower) Next(b []byte) (n int, head *Head, why *canon.Refusal) {
	for f.frame.part != ended && n < len(b) {
		if content := f.frame.data(); content > 0 {
			k := int(min(content, int64(len(b)-n)))
			f.frame.gave(k)
			n += k
			continue
		}
		k, why := f.frame.take(b[n:])
		if n += k; why != nil {
			return n, nil, why
		}
	}
	if n > 0 || len(b) == 0 {
		return n, nil, nil
	}
	if b[0] == '\r' {
		return 0, nil, refuse(CodeRequestLine, "an empty line stands before a request")
	}
	if n, why = f.scan.scan(b); n == 0 || why != nil {
		return 0, nil, why
	}
	h := &f.scan.head
	head, f.frame = h.said(string(b[:n])), framingOf(h)
	f.scan.reset()
	return n, head, nil
}

// said returns what the head says, which text is.
func (h *head) said(text string) *Head {
	out := &Head{Method: h.method.of(text), Target: h.target.of(text), Proto: "HTTP/1.1", Content: h.chunked || h.length > 0}
	if h.old {
		out.Proto = "HTTP/1.0"
	}
	for _, l := range h.fields {
		out.Header = append(out.Header, field.Field{Name: text[l.from:l.colon], Value: trim(text[l.colon+1 : l.to])})
	}
	out.Host = out.Header.Get("Host")
	return out
}
