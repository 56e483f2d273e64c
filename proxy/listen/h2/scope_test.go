package h2

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

type key struct{}

// TestScope holds that a scope is a context like those of the standard library, whoever asks when.
func TestScope(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent := context.WithValue(context.WithoutCancel(t.Context()), key{}, "value")
		s := &scope{Context: parent}
		derived, cancel := context.WithTimeout(s, time.Hour)
		defer cancel()
		var ran atomic.Int64
		stop := context.AfterFunc(s, func() { ran.Add(1) })
		context.AfterFunc(s, func() { ran.Add(10) })
		if !stop() || stop() {
			t.Error("stopping works once")
		}
		if s.Value(key{}) != "value" || derived.Value(key{}) != "value" {
			t.Error("no value")
		}
		if _, ok := s.Deadline(); ok || s.Err() != nil || derived.Err() != nil {
			t.Error("it has ended before its end")
		}
		asked := s.Done()
		select {
		case <-asked:
			t.Error("it is done before its end")
		default:
		}
		s.end()
		s.end()
		<-asked
		<-s.Done()
		<-derived.Done()
		if !errors.Is(s.Err(), context.Canceled) || !errors.Is(derived.Err(), context.Canceled) || !errors.Is(context.Cause(derived), context.Canceled) {
			t.Errorf("%v, %v", s.Err(), derived.Err())
		}
		late := context.AfterFunc(s, func() { ran.Add(100) })
		synctest.Wait()
		if n := ran.Load(); n != 110 || late() {
			t.Errorf("ran %d", n)
		}
		unasked := &scope{Context: parent}
		unasked.end()
		<-unasked.Done()
	})
}
