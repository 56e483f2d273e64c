package engine

import (
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// stillTicks are how often a tunnel is looked at within the longest silence. It lasts for up to one of them longer.
const stillTicks = 4

// stillness ends a tunnel in which nothing moves: it holds a place of its service. It is one timer, so that no
// deadline has to be set for each piece.
type stillness struct {
	tick time.Duration
	end  func()

	moved atomic.Uint64 // pieces, both ways

	mu    sync.Mutex
	timer *time.Timer // nil: no bound
	seen  uint64
	still int
	over  bool // stopped, or ended
	ended bool
}

// watchTunnel calls end once nothing has been read for so long; 0: never.
func watchTunnel(longest time.Duration, end func()) *stillness {
	s := &stillness{tick: longest / stillTicks, end: end}
	if longest > 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.timer = time.AfterFunc(s.tick, s.look)
	}
	return s
}

func (s *stillness) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	if moved := s.moved.Load(); moved != s.seen {
		s.seen, s.still = moved, 0
	} else if s.still++; s.still >= stillTicks {
		s.over, s.ended = true, true
		s.end()
		return
	}
	s.timer.Reset(s.tick)
}

// stop ends the watch and reports whether it has ended the tunnel.
func (s *stillness) stop() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	if s.timer != nil {
		s.timer.Stop()
	}
	return s.ended
}

// reads makes what is read from r count.
func (s *stillness) reads(r io.Reader) io.Reader { return heard{r, s} }

type heard struct {
	io.Reader
	s *stillness
}

func (h heard) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	if n > 0 {
		h.s.moved.Add(1)
	}
	return n, err
}
