package h2io

import (
	"bufio"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Input reads frames. It belongs to one goroutine.
type Input struct {
	o      InputOptions
	r      *bufio.Reader
	frames *http2.Framer
	by     time.Time // read deadline in force
}

// InputOptions are what an Input reads.
type InputOptions struct {
	Conn   net.Conn
	Fields int                           // bytes of a field section
	Rest   time.Duration                 // of silence between frames, before Silent is asked
	Frame  time.Duration                 // for a frame that has begun
	Silent func() (time.Duration, error) // how much longer to wait
	SetBy  func(time.Time)               // sets the read deadline
	Empty  func()                        // all that has come was read: what it means can be done now
}

// NewInput returns an Input.
func NewInput(o InputOptions) *Input {
	i := &Input{o: o, r: bufio.NewReaderSize(o.Conn, 4<<10)}
	i.frames = http2.NewFramer(nil, i.r)
	i.frames.SetMaxReadFrameSize(FrameBytes)
	i.frames.SetReuseFrames()
	i.frames.MaxHeaderListSize = uint32(o.Fields)
	i.frames.ReadMetaHeaders = hpack.NewDecoder(TableBytes, nil)
	return i
}

// Read reads bytes that are no frames: a preface, or what nobody needs any more.
func (i *Input) Read(p []byte) (int, error) { return i.r.Read(p) }

// Next reads a frame. Between frames the other side may be silent for as long as Silent says; a frame that has begun must
// not take long. What is at hand costs no deadline.
func (i *Input) Next() (http2.Frame, error) {
	const head = 9 // RFC 9113, section 4.1
	if i.r.Buffered() < head {
		i.o.Empty()
		if err := i.await(head); err != nil {
			return nil, err
		}
	}
	begin, err := i.r.Peek(head)
	if err != nil {
		return nil, err
	}
	length := int(begin[0])<<16 | int(binary.BigEndian.Uint16(begin[1:]))
	goesOn := http2.FrameType(begin[3]) == http2.FrameHeaders && http2.Flags(begin[4])&http2.FlagHeadersEndHeaders == 0
	if goesOn || i.r.Buffered() < head+length {
		i.o.Empty()
		now := time.Now()
		if left := i.by.Sub(now); left < i.o.Frame*7/8 || left > i.o.Frame {
			i.setBy(now.Add(i.o.Frame))
		}
	}
	return i.frames.ReadFrame()
}

func (i *Input) setBy(t time.Time) {
	i.by = t
	i.o.SetBy(t)
}

// await waits until n bytes are there. A deadline that comes too soon, since it was a frame's, is moved when it is met: on a
// connection that is not at rest that is never.
func (i *Input) await(n int) error {
	rest := time.Now().Add(i.o.Rest)
	if i.by.IsZero() {
		i.setBy(rest)
	}
	for {
		_, err := i.r.Peek(n)
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		if now := time.Now(); now.Before(rest) && !now.Before(i.by) {
			i.setBy(rest)
			continue
		}
		more, err := i.o.Silent()
		if err != nil {
			return err
		}
		i.setBy(time.Now().Add(more))
	}
}
