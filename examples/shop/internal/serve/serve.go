// Package serve is what the shop's services share: listening where they are told, ending when asked to, JSON
// in and out. It is example code, kept small on purpose.
package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// HTTP serves h on LISTEN_ADDRESS until SIGTERM. It ends the process if it cannot.
func HTTP(h http.Handler) {
	if err := listen(h); err != nil {
		log.Fatal(err)
	}
}

func listen(h http.Handler) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s := &http.Server{Addr: os.Getenv("LISTEN_ADDRESS"), Handler: h, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		<-ctx.Done()
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
		defer cancel()
		if s.Shutdown(drain) != nil {
			_ = s.Close() // streams have no end of their own
		}
	}()
	if err := s.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving: %w", err)
	}
	return nil
}

// JSON answers with v.
func JSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that is gone needs no answer
}

// Fail answers with an error message.
func Fail(w http.ResponseWriter, status int, message string) {
	JSON(w, status, map[string]string{"error": message})
}

// Get reads JSON from another service.
func Get(ctx context.Context, url string, v any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("asking %s: %w", url, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("asking %s: status %d", url, resp.StatusCode)
	}
	return json.NewDecoder(resp.Body).Decode(v)
}

// User is who asks, as the gateway tells.
func User(r *http.Request) string { return r.Header.Get("X-Palisade-Subject") }

// Is reports whether who asks has a role, as the gateway tells.
func Is(r *http.Request, role string) bool {
	return slices.Contains(strings.Split(r.Header.Get("X-Palisade-Roles"), ","), role)
}
