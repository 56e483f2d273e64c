package stream

import (
	"cmp"
	"sync"
	"time"
)

// ticks are how often a connection is looked at within its idle time.
const ticks = 4

// watcher ends a connection in which nothing moves, or that is open for too long. It is one timer, so that no
// deadline has to be set for each piece.
type watcher struct {
	link  *Link
	both  [2]*direction
	tick  time.Duration
	until time.Time // zero: no bound
	idle  bool

	mu    sync.Mutex
	timer *time.Timer
	done  bool
	seen  int64
	still int
}

func watch(l *Link, there, back *direction) *watcher {
	b := l.Bounds()
	idle := cmp.Or(l.rules.Idle, b.Idle)
	w := &watcher{link: l, both: [2]*direction{there, back}, idle: idle > 0, tick: idle / ticks}
	if b.Total > 0 {
		w.until = l.Event.Time.Add(b.Total)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if next, ok := w.next(); ok {
		w.timer = time.AfterFunc(next, w.look)
	}
	return w
}

// next is the time until the next look; false if there is none.
func (w *watcher) next() (time.Duration, bool) {
	switch {
	case w.until.IsZero():
		return w.tick, w.idle
	case w.idle:
		return min(w.tick, time.Until(w.until)), true
	}
	return time.Until(w.until), true
}

func (w *watcher) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done {
		return
	}
	if !w.until.IsZero() && !time.Now().Before(w.until) || w.idle && w.rests() {
		w.link.Cut(CutTimeout)
		return
	}
	if next, ok := w.next(); ok {
		w.timer.Reset(next)
	}
}

// rests reports whether nothing has moved for the idle time. What the kernel moves is known only after it was
// interrupted, at the next look.
func (w *watcher) rests() bool {
	moved := w.both[0].moved.Load() + w.both[1].moved.Load()
	if moved != w.seen {
		w.seen, w.still = moved, 0
	} else {
		w.still++
	}
	for _, d := range w.both {
		if d.spliced.Load() {
			_ = d.src.SetReadDeadline(time.Now()) // a socket that is closed needs no interruption
		}
	}
	return w.still > ticks
}

func (w *watcher) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done = true
	if w.timer != nil {
		w.timer.Stop()
	}
}
