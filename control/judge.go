package control

import (
	"fmt"
	"math"
	"time"

	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/model"
)

// trialWatch watches one proxy that tries a model.
type trialWatch struct {
	before  *entry // what it said before
	version string // of the slice it tries
	order   wire.Order
	narrows bool          // the plan refuses more than before on purpose
	begun   time.Time     // of the trial
	watch   time.Duration // from the moment the proxy has taken it
	base    *entry        // first report with the new slice
	last    *entry        // newest
}

// verdict is what a look came to.
type verdict struct {
	open, failed bool
	words        string
}

// look judges by the newest report of the proxy. It is pure but for what it remembers of earlier looks.
func (w *trialWatch) look(e *entry, now time.Time) verdict {
	switch {
	case e == nil || e.Report.Leaving || !e.Report.Started.Equal(w.before.Report.Started):
		return verdict{failed: true, words: "the proxy ended or was restarted while it tried the model"}
	case !e.Report.Accepted && !w.order.After(e.Report.Order):
		return verdict{failed: true, words: "the proxy rejects the model: " + e.Report.Reason}
	case now.Sub(e.Seen) > awayAfter:
		return verdict{failed: true, words: "the proxy is silent"}
	case w.base == nil && e.Report.Version != w.version:
		if now.Sub(w.begun) > answerTime {
			return verdict{failed: true, words: "the proxy has neither taken nor rejected the model"}
		}
		return verdict{open: true, words: "waiting for the proxy to take the model"}
	case w.base == nil:
		w.base = e
	}
	w.last = e
	words, worse := regression(w.rates())
	if w.narrows && !worse.errors {
		worse.refused = false
	}
	if worse.errors || worse.refused {
		return verdict{failed: true, words: words}
	}
	if e.Seen.Sub(w.base.Seen) < w.watch {
		return verdict{open: true, words: "watching"}
	}
	return verdict{words: words}
}

// rates are what the proxy counted before the trial, since its start, and since it took the model.
func (w *trialWatch) rates() (before, after admin.Rates) {
	b := w.before.Report
	before = admin.Rates{Requests: b.Traffic.Requests, Errors: b.Traffic.Errors, Refused: b.Traffic.Refused, Over: model.Duration(max(w.before.Seen.Sub(b.Started), 0))}
	if w.base == nil || w.last == nil {
		return before, after
	}
	from, to := w.base.Report.Traffic, w.last.Report.Traffic
	return before, admin.Rates{
		Requests: since(from.Requests, to.Requests), Errors: since(from.Errors, to.Errors), Refused: since(from.Refused, to.Refused),
		Over: model.Duration(w.last.Seen.Sub(w.base.Seen)),
	}
}

// since is what a counter has gained; one that goes back says nothing.
func since(from, to uint64) uint64 {
	if to < from {
		return 0
	}
	return to - from
}

func (w *trialWatch) trial(v verdict) admin.Trial {
	before, after := w.rates()
	return admin.Trial{ID: w.before.ID, Instance: w.before.Report.Instance, Before: before, After: after, Verdict: v.words, Failed: v.failed}
}

const (
	enough    = 20   // requests that say anything
	tolerance = 0.01 // of requests; less worse than this is not worse
	sigmas    = 3    // standard errors of chance that a difference must exceed
)

type worsening struct{ errors, refused bool }

// regression tells whether a proxy fares worse than before, beyond chance. Too few requests say nothing.
func regression(before, after admin.Rates) (string, worsening) {
	if after.Requests < enough {
		return fmt.Sprintf("%d requests are too few to tell", after.Requests), worsening{}
	}
	rate := func(n, of uint64) float64 {
		if of == 0 {
			return 0
		}
		return float64(n) / float64(of)
	}
	exceeds := func(was, is float64) bool {
		// Of a share that was never seen, one in as many as were looked at may have been missed.
		p := max(was, 1/float64(max(before.Requests, enough)))
		chance := math.Sqrt(p * (1 - p) * (1/float64(after.Requests) + 1/float64(max(before.Requests, enough))))
		return is > was+tolerance+sigmas*chance
	}
	wasErrors, isErrors := rate(before.Errors, before.Requests), rate(after.Errors, after.Requests)
	wasRefused, isRefused := rate(before.Refused, before.Requests), rate(after.Refused, after.Requests)
	out := worsening{errors: exceeds(wasErrors, isErrors), refused: exceeds(wasRefused, isRefused)}
	return fmt.Sprintf("errors %.1f %% after %.1f %%, refusals %.1f %% after %.1f %%, of %d requests",
		100*isErrors, 100*wasErrors, 100*isRefused, 100*wasRefused, after.Requests), out
}
