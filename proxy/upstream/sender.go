package upstream

import (
	"errors"
	"io"
	"strconv"
	"sync"
	"time"
)

const (
	streamSize    = 32 << 10
	chunkHead     = 8 // room before the data: up to six hexadecimal digits and CRLF
	chunkTail     = 2
	continueAfter = 1 * time.Second // RFC 9110, section 10.1.1: do not wait for a 100 without end
)

var (
	errUnwanted = errors.New("answered before the body was sent")
	errLonger   = errors.New("more bytes than announced")
)

// sender writes a request's head and body while the exchange reads the answer. What the body's source gives is
// written at once, each time with one write.
type sender struct {
	x       *exchange
	request *Request
	conn    *conn
	pause   time.Duration
	armed   time.Time // when the write deadline was last set
	wanted  chan bool // one value: whether to send the body; nil unless it must be asked first
	done    chan struct{}
	unsent  bool // not a byte was written; valid after done

	rewindable bool // the body is in memory

	mu       sync.Mutex
	err      error // why sending ended early
	last     bool  // the last bytes are being written, or are
	settling bool  // the write deadline is the exchange's
	once     sync.Once
}

// stream writes the request beside reading the answer.
func (x *exchange) stream(w *wire) error {
	if err := x.conn.line.watch(); err != nil {
		return err
	}
	if err := x.conn.SetReadDeadline(time.Time{}); err != nil { // runs from the end of the request
		return err
	}
	s := &sender{x: x, request: x.request, conn: x.conn, pause: x.pool.options.Pause, done: make(chan struct{}), rewindable: w.rewindable}
	if x.request.ExpectContinue {
		s.wanted = make(chan bool, 1)
	}
	x.sender = s
	buf, ok := x.pool.chunks.Get().(*[]byte)
	if !ok {
		b := make([]byte, streamSize)
		buf = &b
	}
	// The head is copied, as the exchange may fail and free it while the sender still writes.
	head := append((*buf)[:0], w.bytes...)
	go func() {
		defer close(s.done)
		s.ended(s.send(head, *buf))
		x.pool.chunks.Put(buf)
	}()
	return nil
}

func (s *sender) send(head, buf []byte) error {
	if n, err := s.write(head); err != nil {
		s.unsent = n == 0
		return err
	}
	if s.wanted != nil {
		wait := time.NewTimer(continueAfter)
		defer wait.Stop()
		select {
		case yes := <-s.wanted:
			if !yes {
				return errUnwanted
			}
		case <-wait.C:
		}
	}
	if s.request.Length < 0 {
		return s.sendChunks(buf)
	}
	return s.sendLength(buf)
}

func (s *sender) sendLength(buf []byte) error {
	for left := s.request.Length; left > 0; {
		n, err := s.request.Body.Read(buf)
		if int64(n) > left {
			return bodyError(errLonger)
		}
		if left -= int64(n); n > 0 {
			if left == 0 {
				s.finishing()
			}
			if _, err := s.write(buf[:n]); err != nil {
				return err
			}
		}
		if err != nil && left > 0 {
			return bodyError(short(err))
		}
	}
	return nil
}

func (s *sender) sendChunks(buf []byte) error {
	for {
		n, err := s.request.Body.Read(buf[chunkHead : len(buf)-chunkTail])
		end := err == io.EOF //nolint:errorlint // only the bare value is an ordinary end
		if err != nil && !end {
			return bodyError(err)
		}
		out := frameChunk(buf, n)
		if end {
			var trailer []byte
			if trailer, err = s.trailer(); err != nil {
				return err
			}
			out = append(out, trailer...)
			s.finishing()
		}
		if len(out) > 0 {
			if _, err := s.write(out); err != nil {
				return err
			}
		}
		if end {
			return nil
		}
	}
}

// frameChunk puts size and line ends around the n bytes that lie at chunkHead. It returns nothing for no bytes.
func frameChunk(buf []byte, n int) []byte {
	if n == 0 {
		return buf[:0]
	}
	var digits [chunkHead]byte
	size := append(strconv.AppendInt(digits[:0], int64(n), 16), '\r', '\n')
	begin := chunkHead - len(size)
	copy(buf[begin:], size)
	end := chunkHead + n
	buf[end], buf[end+1] = '\r', '\n'
	return buf[begin : end+chunkTail]
}

func (s *sender) trailer() ([]byte, error) {
	if s.request.Trailer == nil {
		return appendTrailer(nil, nil)
	}
	return appendTrailer(nil, s.request.Trailer())
}

// write writes under the pause deadline.
func (s *sender) write(p []byte) (int, error) {
	if now := time.Now(); s.pause < 0 {
		if s.armed.IsZero() {
			s.armed = now
			if err := s.conn.SetWriteDeadline(time.Time{}); err != nil {
				return 0, err
			}
		}
	} else if now.Sub(s.armed) > s.pause/8 {
		if err := s.arm(now.Add(s.pause)); err != nil {
			return 0, err
		}
		s.armed = now
	}
	return s.conn.Write(p)
}

// arm sets the write deadline unless the exchange has set its own at its end.
func (s *sender) arm(until time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.settling {
		return nil
	}
	return s.conn.SetWriteDeadline(until)
}

// proceed answers whether the body is wanted. Only the first answer counts.
func (s *sender) proceed(yes bool) {
	if s.wanted == nil {
		return
	}
	select {
	case s.wanted <- yes:
	default:
	}
}

func (s *sender) finishing() {
	s.mu.Lock()
	s.last = true
	s.mu.Unlock()
}

// ended tells the reader how sending ended: from now on the head is waited for, or the service's last words,
// or nothing.
func (s *sender) ended(err error) {
	s.mu.Lock()
	if s.err == nil {
		s.err = err
	}
	s.mu.Unlock()
	x := s.x
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case errors.Is(err, ErrBody), errors.Is(err, ErrRequest):
		s.conn.line.abort() // the service must not take what it got for the whole
	case x.answered:
	case err != nil:
		_ = s.conn.SetReadDeadline(time.Now().Add(lastWords)) // fails if closed: then the reader knows
	default:
		_ = s.conn.SetReadDeadline(time.Now().Add(x.wait))
	}
}

// failure returns why sending ended early, nil if it has not.
func (s *sender) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// settled reports whether the request is on its way whole, and leaves the sender to end otherwise. If it is
// about to return from its last write, that is waited for: the answer shows that the service has read it.
func (s *sender) settled(wait bool) bool {
	s.mu.Lock()
	s.settling = wait && s.last
	if s.settling {
		_ = s.conn.SetWriteDeadline(time.Now().Add(settling)) // fails if closed: then the write ends as well
	}
	s.mu.Unlock()
	if s.settling {
		<-s.done
		return s.failure() == nil
	}
	select {
	case <-s.done:
		return s.failure() == nil
	default:
		s.proceed(false)
		return false
	}
}

// release lets go of the body. With Interrupt, it returns once the body is not in use any more.
func (s *sender) release() {
	s.proceed(false)
	if s.request.Interrupt == nil {
		return
	}
	s.once.Do(func() {
		select {
		case <-s.done:
		default:
			s.request.Interrupt()
			<-s.done
		}
	})
}
