package main

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	if config := os.Getenv(siteVariable); config != "" {
		if err := runSite(context.Background(), config, os.Stdin, os.Stdout); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestControl runs all of it, very small: a control in its own process, proxies, pushes, growth.
func TestControl(t *testing.T) {
	o := options{rounds: 1, scale: 0.01}
	r, err := measureControl(t.Context(), &o)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range r.Issue {
		if i.PerCPU <= 0 {
			t.Errorf("%s: %v per second", i.What, i.PerCPU)
		}
	}
	for _, p := range r.Push {
		for _, what := range p.Pushes {
			if what.Told == 0 || what.InForce[0] <= 0 || what.Confirmed[0] < what.InForce[0]/2 {
				t.Errorf("%d proxies, %s: %+v", p.Proxies, what.What, what)
			}
		}
	}
	for _, s := range r.Scale {
		if s.Heap == 0 || s.AgainCPU <= 0 {
			t.Errorf("%+v", s)
		}
	}
	if len(r.Push) == 0 || len(r.Scale) == 0 || len(r.Read) == 0 || len(r.Take) == 0 {
		t.Errorf("something is missing: %+v", r)
	}
	checkControlReport(t, r)
}

func checkControlReport(t *testing.T, r *ControlResults) {
	t.Helper()
	for d := xml.NewDecoder(strings.NewReader(controlChart(r))); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the chart is no XML: %v", err)
		}
	}
	table := controlTables(r)
	for _, want := range []string{"### Identities issued", "| 10 | everything |", "### A fleet that grows", "| routes of a slice |"} {
		if !strings.Contains(table, want) {
			t.Errorf("the tables lack %q:\n%s", want, table)
		}
	}
}

func TestGrowth(t *testing.T) {
	var all []*ScaleResult
	for _, n := range []int{10, 100, 1000} {
		all = append(all, &ScaleResult{Services: n, Heap: uint64(n * n), LeadCPU: float64(n), ApplyCPU: float64(n) * 7})
	}
	if got := growth(all); !strings.Contains(got, "power 2.00") || !strings.Contains(got, "publish with 1.00, CPU to change all with 1.00") {
		t.Error(got)
	}
}
