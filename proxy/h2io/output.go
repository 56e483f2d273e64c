// Package h2io holds what both ends of HTTP/2 (RFC 9113) have in common: how frames wait to be written, and how they are
// read from a connection that may be silent. Frames are parsed by golang.org/x/net/http2. It knows neither requests nor
// answers; packages proxy/listen/h2 and proxy/upstream do.
package h2io

import (
	"bytes"
	"encoding/binary"
	"net"
	"runtime"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// The bounds of a connection, in bytes.
const (
	FrameBytes    = 16 << 10  // of a frame in either direction
	HoldBytes     = 64 << 10  // that wait to be written, before streams wait
	MostHeld      = 512 << 10 // that may wait with answers to what the other side asks of the connection itself
	TableBytes    = 4 << 10   // of HPACK's table, in either direction
	InitialWindow = 65535     // RFC 9113, section 6.9.2
	MostWindow    = 1<<31 - 1

	keepBytes   = 64 << 10 // of a buffer that is kept for later
	gatherBytes = 8 << 10  // that are worth a write of their own
)

// Output is what waits to be written to a connection. Whoever has something to write while nobody writes does so, and goes
// on with what others have added meanwhile: what many streams say at once so becomes few writes. All methods want the
// lock of the connection held.
type Output struct {
	Frame    int           // bytes of a frame that the other side takes
	Patience time.Duration // that the other side has to take what is written
	Waiting  int           // streams that wait for room

	o       OutputOptions
	out     []byte
	spare   []byte
	taken   uint64 // counts what was taken out of out
	writing bool
	broken  bool
	until   time.Time // write deadline in force
	block   bytes.Buffer
	fields  *hpack.Encoder
}

// OutputOptions are what an Output belongs to. Its functions are called with the lock held.
type OutputOptions struct {
	Conn    net.Conn
	Lock    sync.Locker
	Beside  func(func()) // runs a function in a goroutine that is waited for
	Room    func()       // there is room for those that wait
	Company func() bool  // reports whether other streams may have something to say soon
	Failed  func(error)  // writing failed
}

// Init makes the output ready.
func (o *Output) Init(options OutputOptions) {
	o.o, o.Frame = options, FrameBytes
	o.fields = hpack.NewEncoder(&o.block)
}

// Held is how many bytes wait.
func (o *Output) Held() int { return len(o.out) }

// Writing reports whether somebody writes.
func (o *Output) Writing() bool { return o.writing }

// Mark is where a frame lies in what waits.
type Mark struct {
	at    int
	taken uint64
}

// Add adds a frame.
func (o *Output) Add(t http2.FrameType, flags http2.Flags, id uint32, payload []byte) Mark {
	at, n := len(o.out), len(payload)
	o.out = append(o.out, byte(n>>16), byte(n>>8), byte(n), byte(t), byte(flags))
	o.out = binary.BigEndian.AppendUint32(o.out, id)
	o.out = append(o.out, payload...)
	return Mark{at, o.taken}
}

// End marks a stream's last frame, of DATA or HEADERS, as such, or adds one if it has been taken out.
func (o *Output) End(id uint32, last Mark) {
	if last.taken == o.taken {
		o.out[last.at+4] |= byte(http2.FlagDataEndStream) // the same for HEADERS
	} else {
		o.Add(http2.FrameData, http2.FlagDataEndStream, id, nil)
	}
}

// Preface adds what a client begins with (RFC 9113, section 3.4); settings follow.
func (o *Output) Preface() { o.out = append(o.out, http2.ClientPreface...) }

// Settings adds our settings.
func (o *Output) Settings(all ...http2.Setting) {
	var b []byte
	for _, s := range all {
		b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(b, uint16(s.ID)), s.Val)
	}
	o.Add(http2.FrameSettings, 0, 0, b)
}

// TableSize takes over how much the other side wants to remember of fields.
func (o *Output) TableSize(n uint32) { o.fields.SetMaxDynamicTableSize(min(n, TableBytes)) }

// Widen lets the other side send n bytes of content more; id is 0 for all streams together.
func (o *Output) Widen(id uint32, n int64) {
	o.Add(http2.FrameWindowUpdate, 0, id, binary.BigEndian.AppendUint32(nil, uint32(n)))
}

// Reset ends a stream.
func (o *Output) Reset(id uint32, code http2.ErrCode) {
	o.Add(http2.FrameRSTStream, 0, id, binary.BigEndian.AppendUint32(nil, uint32(code)))
}

// GoAway tells that no stream after last is taken.
func (o *Output) GoAway(last uint32, code http2.ErrCode) {
	o.Add(http2.FrameGoAway, 0, 0, binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, last), uint32(code)))
}

// BeginFields begins a field section.
func (o *Output) BeginFields() { o.block.Reset() }

// Field adds a field. What changes each time is not remembered: it would only drive out what does not. It is random most often,
// and written as it is: Huffman's code would make it little shorter, at twice the cost of all other fields.
func (o *Output) Field(name, value string, changes bool) {
	if changes {
		const neverIndexed = 0x10 // with a name of its own (RFC 7541, section 6.2.3)
		o.block.WriteByte(neverIndexed)
		o.text(name)
		o.text(value)
		return
	}
	_ = o.fields.WriteField(hpack.HeaderField{Name: name, Value: value}) // a buffer does not fail
}

// text adds a string literal (RFC 7541, section 5.2), which is not Huffman's.
func (o *Output) text(s string) {
	const most = 1<<7 - 1 // that the length's first byte can tell (section 5.1)
	n := uint64(len(s))
	if n < most {
		o.block.WriteByte(byte(n))
	} else {
		o.block.WriteByte(most)
		o.block.Write(binary.AppendUvarint(o.block.AvailableBuffer(), n-most)) // the same seven bits in each further byte
	}
	o.block.WriteString(s)
}

// EndFields adds the frames of the field section.
func (o *Output) EndFields(id uint32, flags http2.Flags) Mark {
	rest := o.block.Bytes()
	t, begin := http2.FrameHeaders, Mark{len(o.out), o.taken}
	for {
		part := rest[:min(len(rest), o.Frame)]
		if rest = rest[len(part):]; len(rest) == 0 {
			flags |= http2.FlagHeadersEndHeaders // the same in CONTINUATION
		}
		o.Add(t, flags, id, part)
		if t, flags = http2.FrameContinuation, 0; len(rest) == 0 {
			return begin
		}
	}
}

// Flush writes what waits, unless somebody is writing already. The lock is held before and after, not meanwhile. Where other
// streams are at work, those that can go on do so first: what they have to say then goes out in the same write.
func (o *Output) Flush() {
	if o.writing {
		return
	}
	o.writing = true
	for len(o.out) > 0 && !o.broken {
		if len(o.out) < gatherBytes && o.o.Company() {
			o.o.Lock.Unlock()
			runtime.Gosched()
			o.o.Lock.Lock()
		}
		b := o.out
		o.out, o.spare = o.spare[:0], nil
		o.taken++
		if t := time.Now().Add(o.Patience); t.Sub(o.until) > o.Patience/8 || o.until.After(t) {
			o.until = t
			_ = o.o.Conn.SetWriteDeadline(t) // fails only on a closed connection, which the write finds out
		}
		o.o.Lock.Unlock()
		_, err := o.o.Conn.Write(b)
		o.o.Lock.Lock()
		if cap(b) <= keepBytes {
			o.spare = b
		}
		if o.Waiting > 0 {
			o.o.Room()
		}
		if err != nil {
			o.broken = true
			o.o.Failed(err)
		}
	}
	o.writing = false
}

// FlushBeside is Flush for who must not wait for the other side.
func (o *Output) FlushBeside() {
	if o.writing || len(o.out) == 0 {
		return
	}
	o.o.Beside(func() {
		o.o.Lock.Lock()
		defer o.o.Lock.Unlock()
		o.Flush()
	})
}
