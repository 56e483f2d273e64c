package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/event/eventtest"
)

// eventsBegin is the time of the first event.
var eventsBegin = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC) //nolint:gochecknoglobals // constant

// fill brings n events into a store as they are delivered: JSON lines in batches, two at a time. What making them costs is left out.
func (out *EventsStore) fill(ctx context.Context, s eventStore, n int) error {
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil { // the peak begins anew
		return fmt.Errorf("forgetting the peak of memory: %w", err)
	}
	fleet := eventtest.New(1, eventsBegin, eventsSpan/time.Duration(n))
	const appenders = 2
	batches, done := make(chan [][]byte), make(chan error, appenders)
	took := make(chan time.Duration, n/eventsBatch+1)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for range appenders {
		go func() {
			for lines := range batches {
				begun := time.Now()
				if err := s.take(ctx, lines); err != nil {
					cancel(err)
					done <- err
					return
				}
				took <- time.Since(begun)
			}
			done <- nil
		}()
	}
	cpu, begun := ownCPU(), time.Now()
	made := makeEvents(ctx, fleet, n, batches)
	var failed error
	for range appenders {
		if err := <-done; err != nil {
			failed = err
		}
	}
	elapsed := time.Since(begun)
	if failed != nil {
		return failed
	}
	if err := s.seal(ctx); err != nil {
		return err
	}
	out.PerCPU = float64(n) / (ownCPU() - cpu - made.worked).Seconds()
	out.Elapsed = float64(n) / (elapsed - made.worked).Seconds()
	out.trace = made.trace
	out.Record = float64(made.size) / float64(n)
	close(took)
	var all []time.Duration
	for t := range took {
		all = append(all, t)
	}
	slices.Sort(all)
	out.P50, out.P99 = percentile(all, 50), percentile(all, 99)
	var err error
	if out.Peak, err = memoryOf("VmHWM:", os.Getpid()); err != nil {
		return err
	}
	cpu = ownCPU()
	if err := s.merge(ctx); err != nil {
		return err
	}
	out.Merging = micros(ownCPU()-cpu) / float64(n)
	return nil
}

// made is what was made, and what that worked.
type made struct {
	worked time.Duration
	size   int    // bytes of the lines
	trace  string // one in the middle
}

// makeEvents makes batches of lines.
func makeEvents(ctx context.Context, fleet *eventtest.Fleet, n int, to chan<- [][]byte) (m made) {
	runtime.LockOSThread() // whose work is counted by itself
	defer runtime.UnlockOSThread()
	defer close(to)
	for left := n; left > 0; left -= eventsBatch {
		before := workOf(rusageThread)
		lines := make([][]byte, min(left, eventsBatch))
		for i := range lines {
			e := fleet.Next()
			if left > n/2 && e.TraceID != "" {
				m.trace = e.TraceID
			}
			lines[i] = event.AppendJSON(make([]byte, 0, event.DefaultCapacity), e)
			m.size += len(lines[i])
		}
		m.worked += workOf(rusageThread) - before
		select {
		case to <- lines:
		case <-ctx.Done():
			return m
		}
	}
	return m
}

const rusageThread = 1 // RUSAGE_THREAD of getrusage(2)

// workOf is CPU time, of this process or of this thread.
func workOf(who int) time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(who, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// settledMemory is what is resident after a collection, in bytes.
func settledMemory() (int64, error) {
	debug.FreeOSMemory()
	return memoryOf("VmRSS:", os.Getpid())
}
