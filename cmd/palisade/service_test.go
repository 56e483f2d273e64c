package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spiffe/go-spiffe/v2/workloadapi"
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
	case "job": // asks orders, and ends
		status, text := get(os.Getenv("ORDERS_ADDRESS") + "/job")
		fmt.Println("job:", status, text)
		if status != http.StatusOK {
			os.Exit(6)
		}
		os.Exit(0)
	default:
		go farewell()
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/die", func(http.ResponseWriter, *http.Request) { os.Exit(4) })
	mux.HandleFunc("/call", func(w http.ResponseWriter, r *http.Request) {
		status, text := getAs(os.Getenv("ORDERS_ADDRESS")+"/x", http.Header{"Traceparent": r.Header["Traceparent"]})
		w.WriteHeader(status)
		fmt.Fprint(w, text)
	})
	mux.HandleFunc("/mine", func(w http.ResponseWriter, r *http.Request) {
		at := os.Getenv("ORDERS_ADDRESS")
		if at == "" {
			fmt.Fprintln(w, "hello", r.URL.Path)
			return
		}
		status, text := get(at+"/mine", r.Header["Txn-Token"]...) // on behalf of the user
		w.WriteHeader(status)
		fmt.Fprint(w, text)
	})
	mux.HandleFunc("/bytes", func(w http.ResponseWriter, r *http.Request) {
		text, err := ping(r.Context(), strings.TrimPrefix(os.Getenv("CACHE_ADDRESS"), "tcp://"))
		fmt.Fprint(w, text, err)
	})
	mux.HandleFunc("/who", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
		defer cancel()
		svid, err := workloadapi.FetchX509SVID(ctx) // at SPIFFE_ENDPOINT_SOCKET
		if err != nil {
			fmt.Fprint(w, err)
			return
		}
		fmt.Fprint(w, svid.ID)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "hello", r.URL.Path) })
	s := &http.Server{Addr: os.Getenv("LISTEN_ADDRESS"), Handler: mux, ReadHeaderTimeout: time.Minute}
	fmt.Fprintln(os.Stderr, s.ListenAndServe())
	os.Exit(5)
}

// ping says something to a service that says it back.
func ping(ctx context.Context, at string) (string, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", at)
	if err != nil {
		return "", err
	}
	defer c.Close()
	heard := make([]byte, 4)
	if _, err = c.Write([]byte("ping")); err == nil {
		_, err = io.ReadFull(c, heard)
	}
	return string(heard), err
}

// get asks another service, on behalf of a user if there is a transaction token; status 599 is that nobody answers.
func get(url string, user ...string) (status int, text string) {
	return getAs(url, http.Header{"Txn-Token": user})
}

// getAs asks another service with some headers.
func getAs(url string, headers http.Header) (status int, text string) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	req, err := http.NewRequest(http.MethodGet, url, http.NoBody)
	if err != nil {
		return 599, err.Error()
	}
	for name, values := range headers {
		if len(values) > 0 {
			req.Header[name] = values
		}
	}
	resp, err := client.Do(req)
	if err != nil {
		return 599, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 599, err.Error()
	}
	return resp.StatusCode, string(b)
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
