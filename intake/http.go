package intake

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The paths of the HTTP intake.
const (
	PathOTLP  = "/v1/logs"  // OTLP/HTTP: application/x-protobuf or application/json
	PathLines = "/v1/lines" // one record a line: JSON (NDJSON) or text
)

// Times of the HTTP intake.
const (
	takeTimeout = 10 * time.Second // for the disk
	busyWait    = 2 * time.Second  // for whom there is no room
)

// fault is what a sender did wrong, or what is wrong here.
type fault struct {
	status int
	reason string // of the refusal; empty: not counted as one
	text   string
	wait   time.Duration // after which it is worth to send again; 0: never, as it is
}

func (f *fault) Error() string { return f.text }

// dialect is how a path reads bodies and answers.
type dialect struct {
	read   func(contentType string, body []byte) (*batch, *fault)
	answer func(w http.ResponseWriter, contentType string, b *batch)
	refuse func(w http.ResponseWriter, contentType string, f *fault)
}

// batch is what was read of a body.
type batch struct {
	records  []*record
	rejected int    // records that were not taken, and are worth no second try
	why      string // of the first
}

// reject counts records that are not taken.
func (b *batch) reject(n int, why string) {
	if b.rejected += n; b.why == "" {
		b.why = why
	}
}

// Handler serves the HTTP intake. Who sends must show an API key (Authorization: Bearer, or X-Api-Key), or a certificate that the
// listener has verified.
func (in *Intake) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST "+PathOTLP, in.handle(dialect{readOTLP, answerOTLP, refuseOTLP}))
	mux.Handle("POST "+PathLines, in.handle(dialect{readLines, answerLines, refuseLines}))
	return mux
}

func (in *Intake) handle(d dialect) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		contentType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
		b, f := in.receive(r, contentType, d)
		if f == nil {
			d.answer(w, contentType, b)
			return
		}
		if f.wait > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(f.wait.Seconds()))))
		}
		if f.status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
		d.refuse(w, contentType, f)
	})
}

// receive takes one body in.
func (in *Intake) receive(r *http.Request, contentType string, d dialect) (*batch, *fault) {
	now := time.Now()
	s, from, f := in.whose(r)
	refuse := func(f *fault) (*batch, *fault) {
		if f.reason != "" {
			one := Refusal{Reason: f.reason, Address: from.address, Text: f.text}
			if s != nil {
				one.Source = s.Name
			}
			in.refusals.refuse(now, one)
		}
		return nil, f
	}
	if f != nil {
		return refuse(f)
	}
	if wait := s.quota.wait(now); wait > 0 {
		return refuse(&fault{http.StatusTooManyRequests, ReasonQuota, "the quota of this source is used up", wait})
	}
	select {
	case in.atOnce <- struct{}{}:
		defer func() { <-in.atOnce }()
	default:
		return refuse(&fault{http.StatusServiceUnavailable, ReasonBusy, "too many bodies are being read", busyWait})
	}
	body, f := in.body(r)
	if f != nil {
		return refuse(f)
	}
	b, f := d.read(contentType, body)
	if f != nil {
		return refuse(f)
	}
	ctx, cancel := context.WithTimeout(r.Context(), takeTimeout)
	defer cancel()
	if err := in.take(ctx, s, b.records, int64(len(body)), from); err != nil {
		return refuse(&fault{http.StatusServiceUnavailable, ReasonBusy, "the records could not be written to disk", busyWait})
	}
	return b, nil
}

// whose finds the source of a request. A key and a certificate must not contradict each other.
func (in *Intake) whose(r *http.Request) (*source, sender, *fault) {
	var from sender
	if host, port, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		from.address = host
		from.port, _ = strconv.Atoi(port) // of a socket
	}
	all := in.sources.Load()
	var byKey, byCertificate *source
	key, hasKey := keyOf(r.Header)
	if hasKey {
		byKey = all.keyed(key)
	}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		byCertificate, from.workload = all.certified(in.o.Certificate(r.TLS))
	}
	switch {
	case hasKey && byKey == nil, byKey == nil && byCertificate == nil, byKey != nil && byCertificate != nil && byKey != byCertificate:
		return nil, from, &fault{status: http.StatusUnauthorized, reason: ReasonUnknown, text: "show the API key or the certificate of a declared source"}
	case byKey != nil:
		return byKey, from, nil
	}
	return byCertificate, from, nil
}

func keyOf(h http.Header) (string, bool) {
	if key := h.Get("X-Api-Key"); key != "" {
		return key, true
	}
	scheme, key, ok := strings.Cut(h.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return "", h.Get("Authorization") != ""
	}
	return strings.TrimSpace(key), true
}

// body reads a body, unpacked, as far as the limit.
func (in *Intake) body(r *http.Request) ([]byte, *fault) {
	tooLarge := &fault{status: http.StatusRequestEntityTooLarge, reason: ReasonTooLarge, text: fmt.Sprintf("a body may have %d bytes, unpacked; send less at once", in.o.Limits.Body)}
	if r.ContentLength > in.o.Limits.Body {
		return nil, tooLarge
	}
	packed := http.MaxBytesReader(nil, r.Body, in.o.Limits.Body)
	var plain io.Reader = packed
	switch coding := strings.ToLower(r.Header.Get("Content-Encoding")); coding {
	case "", "identity":
	case "gzip":
		z, err := gzip.NewReader(packed)
		if err != nil {
			return nil, unreadable(err, tooLarge)
		}
		plain = z
	default:
		return nil, &fault{status: http.StatusUnsupportedMediaType, reason: ReasonForm, text: "send it as it is, or packed with gzip"}
	}
	body, err := io.ReadAll(io.LimitReader(plain, in.o.Limits.Body+1))
	if err != nil {
		return nil, unreadable(err, tooLarge)
	}
	if int64(len(body)) > in.o.Limits.Body {
		return nil, tooLarge
	}
	return body, nil
}

func unreadable(err error, tooLarge *fault) *fault {
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return tooLarge
	}
	return &fault{status: http.StatusBadRequest, reason: ReasonForm, text: "the body cannot be read, or is not what its Content-Encoding says"}
}
