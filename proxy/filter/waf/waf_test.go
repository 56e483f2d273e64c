package waf

import (
	"testing"

	"github.com/palisade-security/palisade/model"
)

func TestSelfTest(t *testing.T) {
	c, err := NewCompiler()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SelfTest(t.Context()); err != nil {
		t.Fatal(err)
	}
	e, err := c.engine(withDefaults(model.WAF{}, 0))
	if err != nil {
		t.Fatal(err)
	}
	t.Log(e.count, e.rules.version)
}
