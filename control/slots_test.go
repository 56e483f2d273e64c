package control

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"
)

// TestQuestionsWithoutEnd holds that who asks for challenges without end takes none from others who answer in time.
func TestQuestionsWithoutEnd(t *testing.T) {
	q, now := new(questions), time.Now()
	honest := q.ask(now)
	for range maxQuestions - 1 {
		q.ask(now)
	}
	if q.take(honest.Name, now) == nil {
		t.Error("an honest question is gone")
	}
	if q.take(honest.Name, now) != nil {
		t.Error("it is answered twice")
	}
	late := q.ask(now)
	for range 3 * maxQuestions {
		q.ask(now)
	}
	if len(q.all) > maxQuestions || len(q.order) > maxQuestions+1 {
		t.Errorf("%d questions wait, %d names", len(q.all), len(q.order))
	}
	if q.take(late.Name, now) != nil {
		t.Error("the oldest is kept")
	}
	last := q.ask(now)
	now = now.Add(questionLife + time.Second)
	if q.take(last.Name, now) != nil {
		t.Error("it is answered too late")
	}
	if q.ask(now); len(q.all) != 1 || len(q.order) != 1 {
		t.Errorf("%d questions wait, %d names, when all but one have ended", len(q.all), len(q.order))
	}
}

// TestSlots holds that one address does not hold all of them.
func TestSlots(t *testing.T) {
	s := new(slots)
	fill := func(from netip.Addr) (n int) {
		for s.take(from, time.Now()) == nil {
			n++
		}
		return n
	}
	for i := range ofOneAddress {
		if n := fill(netip.MustParseAddr(fmt.Sprint("10.0.0.", i+1))); n != mostRequests/ofOneAddress {
			t.Errorf("address %d holds %d", i, n)
		}
	}
	other := netip.MustParseAddr("10.0.0.99")
	if s.take(other, time.Now()) == nil {
		t.Error("there are more than there may be")
	}
	s.give(netip.MustParseAddr("10.0.0.1"))
	if s.take(other, time.Now()) != nil || len(s.of) != ofOneAddress+1 {
		t.Errorf("a slot that was given back is not to be had: %v", s.of)
	}
}

// TestComeBack: who finds no slot is told to come back, the later the more are turned away for each who is served.
func TestComeBack(t *testing.T) {
	now, from := time.Now(), netip.MustParseAddr("10.0.0.1")
	s := new(slots)
	for s.take(from, now) == nil {
	}
	last := time.Duration(0)
	for range 1000 {
		var busy *busyError
		if !errors.As(s.take(from, now), &busy) || busy.after < last || busy.after < shortestOff || busy.after > longestOff {
			t.Fatalf("told to come back after %+v, who came before after %s", busy, last)
		}
		last = busy.after
	}
	if last != longestOff {
		t.Errorf("the thousandth is told to come back after %s", last)
	}
	var busy *busyError
	if !errors.As(s.take(from, now.Add(time.Hour)), &busy) || busy.after > countSpan {
		t.Errorf("an hour later the storm is not forgotten: %+v", busy)
	}
}

// TestTurnedAway: what is turned away says so in the words of HTTP.
func TestTurnedAway(t *testing.T) {
	w := httptest.NewRecorder()
	(&Control{}).answer(t.Context(), w, nil, &busyError{7 * time.Second})
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "7" {
		t.Errorf("answered %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
}
