package h2

import (
	"bytes"
	"encoding/binary"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/palisade-security/palisade/proxy/field"
)

// output is what waits to be written. Whoever has something to write while nobody writes does so, and goes on with what
// others have added meanwhile: what many streams answer at once so becomes few writes. All of it lies under the
// connection's lock.
type output struct {
	out      []byte
	spare    []byte
	flushed  uint64 // counts what was taken out of out
	writing  bool
	waiting  int           // streams that wait for room, or for a window
	patience time.Duration // that the client has to take what is written
	until    time.Time     // write deadline in force
	fields   struct {
		block bytes.Buffer
		enc   *hpack.Encoder
	}
}

// frame adds a frame and returns where it begins.
func (o *output) frame(t http2.FrameType, flags http2.Flags, id uint32, payload []byte) int {
	at := len(o.out)
	n := len(payload)
	o.out = append(o.out, byte(n>>16), byte(n>>8), byte(n), byte(t), byte(flags))
	o.out = binary.BigEndian.AppendUint32(o.out, id)
	o.out = append(o.out, payload...)
	return at
}

func (o *output) settings(all ...http2.Setting) {
	var b []byte
	for _, s := range all {
		b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(b, uint16(s.ID)), s.Val)
	}
	o.frame(http2.FrameSettings, 0, 0, b)
}

func (o *output) updateWindow(id uint32, n int64) {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(n))
	o.frame(http2.FrameWindowUpdate, 0, id, b[:])
}

func (o *output) resetStream(id uint32, code http2.ErrCode) {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(code))
	o.frame(http2.FrameRSTStream, 0, id, b[:])
}

func (c *conn) goAway(code http2.ErrCode) {
	var b [8]byte
	binary.BigEndian.PutUint32(b[:4], c.last)
	binary.BigEndian.PutUint32(b[4:], uint32(code))
	c.frame(http2.FrameGoAway, 0, 0, b[:])
}

// beginFields begins a field section, with a first field if that has a name.
func (o *output) beginFields(name, value string) *output {
	o.fields.block.Reset()
	if name != "" {
		_ = o.fields.enc.WriteField(hpack.HeaderField{Name: name, Value: value}) // a buffer does not fail
	}
	return o
}

// add adds a field. What differs from answer to answer would only drive out of the table what does not.
func (o *output) add(f field.Field) {
	name := lower(f.Name)
	_ = o.fields.enc.WriteField(hpack.HeaderField{Name: name, Value: safe(f.Value), Sensitive: name == "x-request-id"}) // see beginFields
}

// endFields adds the frames of the field section, and returns where the first begins.
func (c *conn) endFields(id uint32, flags http2.Flags) int {
	rest := c.fields.block.Bytes()
	t, at := http2.FrameHeaders, len(c.out)
	for {
		part := rest[:min(len(rest), c.peer.frame)]
		if rest = rest[len(part):]; len(rest) == 0 {
			flags |= http2.FlagHeadersEndHeaders // the same in CONTINUATION
		}
		c.frame(t, flags, id, part)
		if t, flags = http2.FrameContinuation, 0; len(rest) == 0 {
			return at
		}
	}
}

// safe is a field value without what could end it early in HTTP/1.1, behind the client.
func safe(v string) string {
	bad := func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f {
			return ' '
		}
		return r
	}
	for i := range len(v) {
		if c := v[i]; c < ' ' && c != '\t' || c == 0x7f {
			return strings.Map(bad, v)
		}
	}
	return v
}

// lowered holds the names that most answers have. It is never written after its making.
var lowered = func() map[string]string {
	m := map[string]string{}
	for _, name := range []string{
		"Accept-Ranges", "Age", "Allow", "Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Length", "Content-Security-Policy",
		"Content-Type", "Date", "Etag", "Expires", "Grpc-Encoding", "Grpc-Accept-Encoding", "Grpc-Message", "Grpc-Status", "Last-Modified", "Link", "Location",
		"Referrer-Policy", "Retry-After", "Server", "Set-Cookie", "Strict-Transport-Security", "Trailer", "Vary", "Www-Authenticate", "X-Content-Type-Options",
		"X-Frame-Options", "X-Request-Id",
	} {
		m[name] = strings.ToLower(name)
	}
	return m
}()

func lower(name string) string {
	if l, ok := lowered[name]; ok {
		return l
	}
	return strings.ToLower(name)
}

// flush writes what waits, unless somebody is writing already. The lock is held before and after, not meanwhile.
func (c *conn) flush() {
	if c.writing {
		return
	}
	c.writing = true
	for len(c.out) > 0 && c.failed == nil {
		b := c.out
		c.out, c.spare = c.spare[:0], nil
		c.flushed++
		if t := time.Now().Add(c.patience); t.Sub(c.until) > c.patience/8 || c.until.After(t) {
			c.until = t
			_ = c.nc.SetWriteDeadline(t) // see setRead
		}
		c.mu.Unlock()
		_, err := c.nc.Write(b)
		c.mu.Lock()
		if cap(b) <= keepBytes {
			c.spare = b
		}
		if c.waiting > 0 {
			c.wakeAll()
		}
		if err != nil {
			c.broke(err)
		}
	}
	c.writing = false
}

// wakeAll lets all streams look again.
func (c *conn) wakeAll() {
	for _, s := range c.streams {
		s.wake.Broadcast()
	}
}

// flushBeside is flush for who must not wait for the client.
func (c *conn) flushBeside() {
	if c.writing || len(c.out) == 0 {
		return
	}
	c.served.Go(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.flush()
	})
}
