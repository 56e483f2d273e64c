package h1

import (
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/palisade-security/palisade/proxy/field"
)

// outSize is how much of an answer is held back to be written at once.
const outSize = 8 << 10

var (
	errNotBegun = errors.New("content without a head")
	errLonger   = errors.New("more content than announced")
	errNotAsked = errors.New("the client was answered before it was asked to go on")
)

// answer writes the answer to the call that is being served.
type answer struct {
	c *conn
	reply
	err error // why nothing can be written any more

	mu       sync.Mutex // one write at a time, and what follows
	begun    bool
	awaiting bool // the client waits for 100 (Continue)
}

// reply is what belongs to one answer.
type reply struct {
	out      *[]byte // borrowed
	bare     bool    // has no content
	chunked  bool
	open     bool  // ends with the connection
	trailed  bool  // the last chunk is written
	left     int64 // of the announced length; 0 if none is
	close    bool  // the connection ends after it
	switched bool  // the connection speaks another protocol
}

func (a *answer) reset() {
	a.reply, a.begun, a.awaiting = reply{}, false, false
}

// borrow takes a buffer to write to.
func (a *answer) borrow() {
	a.out, _ = a.c.server.outs.Get().(*[]byte)
	*a.out = (*a.out)[:0]
}

// free gives the buffer back.
func (a *answer) free() {
	if a.out != nil {
		a.c.server.outs.Put(a.out)
		a.out = nil
	}
}

// Begin implements engine.Answer.
func (a *answer) Begin(status int, h field.List, length int64) {
	a.mu.Lock()
	a.begun = true
	unasked := a.awaiting
	a.mu.Unlock()
	c := a.c
	asked := &c.scan.head
	old := c.call.Proto == "HTTP/1.0"
	a.bare = c.call.Method == http.MethodHead || !hasContent(status)
	a.borrow()
	b := appendStatus(*a.out, old, status)
	for _, f := range h {
		switch f.Name {
		case "Connection":
			a.close = a.close || hasWord([]byte(f.Value), "close")
			continue
		case "Date", "Transfer-Encoding":
			continue
		case "Content-Length":
			if !a.bare || !hasContent(status) {
				continue
			}
		case "Content-Type":
			if status == http.StatusNotModified {
				continue
			}
		}
		b = appendField(b, f.Name, f.Value)
	}
	b = appendField(b, "Date", c.server.date.At(time.Now()))
	switch {
	case a.bare:
	case length >= 0:
		a.left = length
		b = append(b, "Content-Length: "...)
		b = append(strconv.AppendInt(b, length, 10), "\r\n"...)
	case old:
		a.open, a.close = true, true
	default:
		a.chunked = true
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	rest := c.body.rest.Load()
	a.close = a.close || asked.closes || old && !asked.keepAlive || unasked || rest == broken || rest > drainBytes || c.server.open.Draining()
	switch {
	case a.close && !old:
		b = append(b, "Connection: close\r\n"...)
	case !a.close && old:
		b = append(b, "Connection: keep-alive\r\n"...)
	}
	*a.out = append(b, "\r\n"...)
}

// hasContent reports whether an answer with that status may have content (RFC 9110, section 6.4.1).
func hasContent(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

func appendStatus(b []byte, old bool, status int) []byte {
	if old {
		b = append(b, "HTTP/1.0 "...)
	} else {
		b = append(b, "HTTP/1.1 "...)
	}
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(status)...)
	return append(b, "\r\n"...)
}

// appendField appends a field line. Whatever could end the line early becomes a space: upstream's reader and the
// filters let nothing of the kind pass, and no mistake of theirs shall split an answer in two.
func appendField(b []byte, name, value string) []byte {
	at := len(b)
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	if line := b[at:]; !clean(line) {
		for i, c := range line {
			if c < ' ' && c != '\t' || c == 0x7f {
				line[i] = ' '
			}
		}
	}
	return append(b, "\r\n"...)
}

// Write implements engine.Answer.
func (a *answer) Write(p []byte) (int, error) {
	switch {
	case !a.begun:
		return 0, errNotBegun
	case a.bare || len(p) == 0: // no bytes would be the last chunk
		return len(p), nil
	case a.chunked:
		a.room(len("ffffffffffffffff\r\n"))
		*a.out = append(strconv.AppendInt(*a.out, int64(len(p)), 16), "\r\n"...)
		a.put(p)
		a.text("\r\n")
	case a.open:
		a.put(p)
	case int64(len(p)) > a.left:
		return 0, errLonger
	default:
		a.left -= int64(len(p))
		a.put(p)
	}
	if a.err != nil {
		return 0, a.err
	}
	return len(p), nil
}

// room makes sure that n bytes can be held back.
func (a *answer) room(n int) {
	if cap(*a.out)-len(*a.out) < n {
		_ = a.Flush() // its error stays
	}
}

// text holds s back, which is short.
func (a *answer) text(s string) {
	a.room(len(s))
	*a.out = append(*a.out, s...)
}

// put holds p back, or writes it if it is too much.
func (a *answer) put(p []byte) {
	b := *a.out
	if len(p) > cap(b)-len(b) && len(b) > 0 {
		n := copy(b[len(b):cap(b)], p)
		*a.out, p = b[:len(b)+n], p[n:]
		_ = a.Flush() // its error stays
	}
	if len(p) >= outSize {
		a.write(p)
		return
	}
	*a.out = append(*a.out, p...)
}

// Flush implements engine.Answer.
func (a *answer) Flush() error {
	if len(*a.out) > 0 {
		a.write(*a.out)
		*a.out = (*a.out)[:0]
	}
	return a.err
}

func (a *answer) write(p []byte) {
	if a.err != nil {
		return
	}
	a.mu.Lock()
	_, a.err = a.c.nc.Write(p)
	a.mu.Unlock()
}

// Trailer implements engine.Answer.
func (a *answer) Trailer(h field.List) {
	if !a.chunked || a.trailed {
		return
	}
	a.trailed = true
	a.text("0\r\n")
	for _, f := range h {
		a.room(len(f.Name) + len(f.Value) + len(": \r\n"))
		*a.out = appendField(*a.out, f.Name, f.Value)
	}
}

// end completes the answer and reports whether it is whole.
func (a *answer) end() bool {
	if !a.begun || a.err != nil || a.left > 0 {
		return false
	}
	if a.chunked {
		if !a.trailed {
			a.text("0\r\n")
		}
		a.text("\r\n")
	}
	err := a.Flush()
	a.free()
	return err == nil
}

// proceed tells a client that waits for it to send its body. It may be called by whoever reads the body.
func (a *answer) proceed() error {
	if !a.c.scan.head.expects {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case !a.awaiting:
		return nil
	case a.begun:
		return errNotAsked
	}
	a.awaiting = false
	a.c.line.WriteWithin(a.c.server.o.Header)
	_, err := a.c.nc.Write([]byte("HTTP/1.1 100 Continue\r\n\r\n"))
	return err
}
