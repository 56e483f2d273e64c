package journal

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// keepSpare is the largest buffer that is kept for the next batch.
const keepSpare = DefaultPendingBytes

// batch is a group of records that share one fsync. Its maker fills it under the journal's lock until the
// committer takes it; done is closed when err is final.
type batch struct {
	buf    []byte
	n      int
	urgent bool // somebody waits for it
	full   bool // half of what may wait is waiting
	taken  chan struct{}
	done   chan struct{}
	err    error
}

func newBatch(buf []byte) *batch {
	return &batch{buf: buf[:0], taken: make(chan struct{}), done: make(chan struct{})}
}

// commit writes one batch after the other until Close. It is the only goroutine that touches the files.
func (j *Journal) commit() {
	defer close(j.done)
	for closing := false; !closing; {
		select {
		case <-j.wake:
			j.linger()
		case told := <-j.turn:
			j.flush()
			told <- j.begin()
		case <-j.quit:
			closing = true
		}
		j.flush()
	}
	if err := errors.Join(j.tail.file.Close(), j.lock.Close()); err != nil {
		j.fail(fmt.Errorf("closing journal: %w", err))
	}
}

// linger lets a batch of mere offers gather company, so that an idle gateway does not pay an fsync for
// every record.
func (j *Journal) linger() {
	if j.opts.Linger < 0 || j.due() {
		return
	}
	timer := time.NewTimer(j.opts.Linger)
	defer timer.Stop()
	for !j.due() {
		select {
		case <-j.wake:
		case <-timer.C:
			return
		case <-j.quit:
			return
		}
	}
}

func (j *Journal) due() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.batch.urgent || j.batch.full || j.err != nil
}

// flush takes the waiting batch and makes it durable.
func (j *Journal) flush() {
	j.mu.Lock()
	b, err := j.batch, j.err
	if b.n == 0 {
		j.mu.Unlock()
		return
	}
	j.batch = newBatch(j.spare)
	j.spare = nil
	j.mu.Unlock()
	close(b.taken)

	if err == nil {
		if err = j.write(b.buf); err != nil {
			j.fail(err)
		}
	}
	b.err = err
	close(b.done)

	if cap(b.buf) <= keepSpare {
		j.mu.Lock()
		j.spare = b.buf
		j.mu.Unlock()
	}
}

// write puts whole frames into one or more segments. A frame larger than a segment gets one of its own.
func (j *Journal) write(b []byte) error {
	for len(b) > 0 {
		n := fit(b, j.opts.SegmentBytes-j.tail.size)
		if n == 0 {
			if j.tail.size > int64(segmentHead) {
				if err := j.rotate(parseFrame(b).seq); err != nil {
					return err
				}
				continue
			}
			n = frameHead + int(parseFrame(b).length)
		}
		if err := j.tail.write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// rotate begins the next segment. The old one is on the disk as far as it was written.
func (j *Journal) rotate(first uint64) error {
	next, err := createTail(j.opts.Dir, j.lock, first)
	if err != nil {
		return err
	}
	old := j.tail.file
	j.tail = next
	if err := old.Close(); err != nil {
		return fmt.Errorf("closing segment: %w", err)
	}
	j.retire()
	return nil
}

// begin begins the next segment if the one in use has records. If it cannot, the one in use stays.
func (j *Journal) begin() error {
	j.mu.Lock()
	first, err := j.next-uint64(j.batch.n), j.err
	j.mu.Unlock()
	if err != nil || j.tail.size <= int64(segmentHead) {
		return err
	}
	if err = j.rotate(first); err == nil || j.tail.first == first {
		return err
	}
	// A segment without records behind one that goes on would be taken for the newest.
	if left := os.Remove(segmentPath(j.opts.Dir, first)); left != nil && !errors.Is(left, os.ErrNotExist) {
		err = errors.Join(err, left)
		j.fail(err)
	}
	return err
}

// retire deletes the oldest segments while all together are larger than KeepBytes. What cannot be deleted
// is tried again at the next segment: it endangers no record.
func (j *Journal) retire() {
	segs, err := listSegments(j.opts.Dir)
	if err != nil {
		return
	}
	var total int64
	for _, s := range segs {
		total += s.size
	}
	for _, s := range segs {
		if total <= j.keep.Load() || s.first >= j.tail.first {
			return
		}
		if os.Remove(segmentPath(j.opts.Dir, s.first)) != nil {
			return
		}
		total -= s.size
	}
}

// fail makes the journal refuse everything from now on. What was written but not acknowledged is cut off
// again where the disk still allows it: after a failed fsync those bytes may exist in memory only, and a
// later Open would build on them.
func (j *Journal) fail(err error) {
	j.mu.Lock()
	if j.err == nil {
		j.err = fmt.Errorf("journal failed: %w", err)
	}
	j.mu.Unlock()
	_ = j.tail.file.Truncate(j.tail.size) // if it cannot, Open cuts or finds damage
}
