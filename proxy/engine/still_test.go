package engine

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestStillness ends what rests, not what speaks now and then, and nothing without a bound.
func TestStillness(t *testing.T) {
	for name, c := range map[string]struct {
		longest, every time.Duration // every: something is read; 0: never
		ends           bool
	}{
		"rests":    {longest: time.Hour, ends: true},
		"speaks":   {longest: time.Hour, every: 50 * time.Minute},
		"no bound": {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var ended time.Duration
				began := time.Now()
				s := watchTunnel(c.longest, func() { ended = time.Since(began) })
				for time.Since(began) < 24*time.Hour {
					if c.every == 0 {
						time.Sleep(time.Hour)
						continue
					}
					time.Sleep(c.every)
					_, _ = s.reads(strings.NewReader("x")).Read(make([]byte, 1))
				}
				synctest.Wait()
				if s.stop() != c.ends || (ended > 0) != c.ends || c.ends && (ended < c.longest || ended > c.longest*5/4) {
					t.Errorf("ended after %s", ended)
				}
			})
		})
	}
}
