package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// TestFail: what the client did wrong is told, and nothing else.
func TestFail(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		text string
	}{
		{status.Error(codes.FailedPrecondition, "no room is left"), http.StatusConflict, "no room is left"},
		{status.Error(codes.NotFound, "no such hotel"), http.StatusNotFound, "no such hotel"},
		{status.Error(codes.PermissionDenied, "inner words"), http.StatusBadGateway, "something behind this failed"},
		{http.ErrAbortHandler, http.StatusBadGateway, "something behind this failed"},
	} {
		w := httptest.NewRecorder()
		fail(w, c.err)
		if w.Code != c.code || strings.TrimSpace(w.Body.String()) != c.text {
			t.Errorf("%v: %d %s", c.err, w.Code, w.Body)
		}
	}
}

func TestBadRequests(t *testing.T) {
	h := (&front{}).routes()
	for _, c := range []struct{ method, target, body string }{
		{http.MethodGet, "/hotels", ""},
		{http.MethodGet, "/hotels?lat=1&lon=x", ""},
		{http.MethodPost, "/bookings", "{"},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), c.method, c.target, strings.NewReader(c.body)))
		if w.Code != http.StatusBadRequest {
			t.Errorf("%s %s: %d", c.method, c.target, w.Code)
		}
	}
}
