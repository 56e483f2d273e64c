package main

import (
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// service is a process of a fleet under test: it serves on LISTEN_ADDRESS, leaves its process id in PID_FILE,
// and does what BEHAVIOUR says.
func service() {
	fmt.Fprintln(os.Stderr, "service begins")
	if err := os.WriteFile(os.Getenv("PID_FILE"), fmt.Append(nil, os.Getpid()), 0o600); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(9)
	}
	switch os.Getenv("BEHAVIOUR") {
	case "exit":
		fmt.Fprintln(os.Stderr, "no database")
		os.Exit(3)
	case "deaf":
		signal.Ignore(syscall.SIGTERM)
	default:
		go farewell()
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/die", func(http.ResponseWriter, *http.Request) { os.Exit(4) })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "hello", r.URL.Path) })
	s := &http.Server{Addr: os.Getenv("LISTEN_ADDRESS"), Handler: mux, ReadHeaderTimeout: time.Minute}
	fmt.Fprintln(os.Stderr, s.ListenAndServe())
	os.Exit(5)
}

// farewell notes the order of stopping in a file beside PID_FILE, then ends.
func farewell() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM)
	<-c
	name := os.Getenv("PID_FILE")
	f, err := os.OpenFile(filepath.Join(filepath.Dir(name), "stopped"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		fmt.Fprintln(f, filepath.Base(name))
	}
	os.Exit(0)
}
