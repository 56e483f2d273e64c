package control_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/control"
)

// TestTaken holds that control says which address it cannot have, and ends.
func TestTaken(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	taken := ln.Addr().String()
	for key, change := range map[string]func(*control.Options){
		"mesh.control.listen":     func(o *control.Options) { o.Listen = taken },
		"mesh.control.bus.listen": func(o *control.Options) { o.Bus.Listen = taken },
	} {
		t.Run(key, func(t *testing.T) {
			s := newSite(t, compile(t, shop), change)
			o := s.options(make(chan string, 1))
			var log bytes.Buffer
			o.Log = slog.New(slog.NewTextHandler(&log, nil))
			c, err := control.New(o)
			must(t, err)
			err = c.Run(t.Context())
			if err == nil || errors.Is(err, context.Canceled) { // which is an end as wanted
				t.Fatal(err)
			}
			for _, want := range []string{taken, key, "address already in use", "stop what listens there, or choose another"} {
				if strings.Count(err.Error(), want) != 1 {
					t.Errorf("%v, want %q once", err, want)
				}
			}
			if strings.Contains(log.String(), "address already in use") {
				t.Errorf("it is said twice:\n%s", &log)
			}
		})
	}
}
