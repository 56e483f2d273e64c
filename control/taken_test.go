package control_test

import (
	"context"
	"errors"
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
	for name, change := range map[string]func(*control.Options){
		"for proxies": func(o *control.Options) { o.Listen = taken },
		"of the bus":  func(o *control.Options) { o.Bus.Listen = taken },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, compile(t, shop), change)
			c, err := control.New(s.options(make(chan string, 1)))
			must(t, err)
			err = c.Run(t.Context())
			if err == nil || !strings.Contains(err.Error(), taken) || errors.Is(err, context.Canceled) { // which is an end as wanted
				t.Errorf("%v, want %s", err, taken)
			}
		})
	}
}
