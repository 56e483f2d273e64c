package app

import (
	"errors"
	"net/url"
	"strings"
	"testing"
)

// TestNotFound: that an id is not recorded is not told as if nobody had answered.
func TestNotFound(t *testing.T) {
	o := &Options{Reach: Reach{Control: "control.example:9950"}}
	if err := o.asked(notFoundf("no record of %q", "1")); err.Error() != `no record of "1"` {
		t.Error(err)
	}
	if err := o.asked(&url.Error{Op: "Get", URL: "https://c", Err: errors.New("refused")}); !strings.Contains(err.Error(), "does not answer") {
		t.Error(err)
	}
	if err := o.asked(errors.New("a damaged segment")); err.Error() != "a damaged segment" {
		t.Errorf("%v", err)
	}
}
