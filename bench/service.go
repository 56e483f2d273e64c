package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// The words with which this program is a service, as its first argument.
const (
	serveCalls  = "serve-calls"  // ADDRESS: answers gRPC
	serveCaller = "serve-caller" // FILE: writes there where its sidecar takes calls to the service "items"
)

// service runs as one of the services that a run needs, until it is ended. It returns false if that is not asked for.
func service(ctx context.Context, args []string) (bool, error) {
	if len(args) != 2 {
		return false, nil
	}
	switch args[0] {
	case serveCalls:
		return true, serve(ctx, args[1], http.HandlerFunc(answerCall))
	case serveCaller:
		u, err := url.Parse(os.Getenv("ITEMS_ADDRESS"))
		if err != nil {
			return true, fmt.Errorf("ITEMS_ADDRESS: %w", err)
		}
		if err := os.WriteFile(args[1], []byte(u.Host), 0o644); err != nil {
			return true, err
		}
		return true, serve(ctx, os.Getenv("LISTEN_ADDRESS"), http.NotFoundHandler())
	}
	return false, nil
}

// answerCall answers any unary call with a message of answerBytes.
func answerCall(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return // the client is gone
	}
	h := w.Header()
	h["Content-Type"] = []string{"application/grpc"}
	h["Trailer"] = []string{"Grpc-Status"}
	_, _ = io.WriteString(w, reply) // see above
	h["Grpc-Status"] = []string{"0"}
}

// reply is the answer of the backend of gRPC.
var reply = string(framed([]byte(strings.Repeat("p", answerBytes))))

func serve(ctx context.Context, address string, h http.Handler) error {
	s := &http.Server{Handler: h, Protocols: new(http.Protocols)}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	if err := s.Serve(ln); ctx.Err() == nil {
		return err
	}
	return nil
}
