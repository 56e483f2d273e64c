package main

import (
	"testing"
	"time"
)

func TestAgo(t *testing.T) {
	for text, want := range map[string]time.Duration{"90m": 90 * time.Minute, "24h": 24 * time.Hour, "7d": 168 * time.Hour, "4w": 672 * time.Hour, "0d": 0} {
		var a ago
		if err := a.UnmarshalText([]byte(text)); err != nil || time.Duration(a) != want {
			t.Errorf("%s: %v, %v", text, time.Duration(a), err)
		}
	}
	for _, text := range []string{"", "d", "7", "-1d", "-1h", "1.5d", "65535w", "9999999d", "yesterday"} {
		if err := new(ago).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	now := time.Unix(1e9, 0)
	if got := ago(time.Hour).before(now); !got.Equal(now.Add(-time.Hour)) || !ago(0).before(now).IsZero() {
		t.Errorf("got %v", got)
	}
}
