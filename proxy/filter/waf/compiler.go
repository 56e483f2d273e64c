package waf

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
)

// Options change what engines do beyond the settings of routes. The zero value is what a gateway uses.
type Options struct {
	// Setup is SecLang read after the settings and before the rule set. It is for test suites that expect
	// settings of their own; a gateway's own settings stand in its model. It cannot raise the paranoia level.
	Setup string
	// NoCanaries makes SelfTest prove only that the rule set is whole, for a Setup that changes verdicts.
	NoCanaries bool
	// Trace receives the engine's own log line of each match, with the id of the request. Lines hold data of
	// the request: this too is for test suites only.
	Trace func(id, line string)
}

// Compiler builds filters and shares one engine between all routes with the same settings, across snapshots.
// It is safe for concurrent use.
type Compiler struct {
	rules   *ruleIndex
	options Options

	mu      sync.Mutex
	engines map[string]*shared
	round   int
}

// shared is an engine in the making or made.
type shared struct {
	once   sync.Once
	engine *corazaEngine
	err    error
	round  int // the last round in which a route asked for it
}

// NewCompiler reads the rule set that is linked in. It compiles nothing yet.
func NewCompiler(o Options) (*Compiler, error) {
	adaptCoraza()
	rules, err := readRules(o)
	if err != nil {
		return nil, fmt.Errorf("reading the core rule set: %w", err)
	}
	return &Compiler{rules: rules, options: o, engines: map[string]*shared{}}, nil
}

// Filter returns the inspection of a route to that service, nil if its mode is off. Compiling new settings takes
// about a second; settings seen before cost nothing.
func (c *Compiler) Filter(route model.ResolvedRoute, service model.ResolvedService) (proxy.Filter, error) {
	w := withDefaults(route.WAF, route.Body)
	if w.Mode == modeOff {
		return nil, nil
	}
	if findings := c.Check(w); len(findings) > 0 {
		return nil, fmt.Errorf("compiling the inspection of route %q: %s", route.ID, findings[0].Text)
	}
	engine, err := c.engine(w)
	if err != nil {
		return nil, fmt.Errorf("compiling the inspection of route %q: %w", route.ID, err)
	}
	return &Filter{
		engine: engine, detect: w.Mode == modeDetect, answers: inspectsAnswers(w), body: int64(w.Body),
		// Any other service does not speak gRPC, and whoever claims to might only want its body overlooked.
		stream: route.Stream, grpc: strings.HasPrefix(service.Address, "h2c://"),
	}, nil
}

// Sweep forgets the engines that no route asked for since the Sweep before. Call it once a snapshot serves.
func (c *Compiler) Sweep() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, s := range c.engines {
		if s.round < c.round {
			delete(c.engines, key)
		}
	}
	c.round++
}

// Engines returns how many distinct settings are compiled.
func (c *Compiler) Engines() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.engines)
}

// SelfTest proves that every compiled engine holds the whole rule set, and that the default settings catch
// the canary attacks and pass the benign requests. A gateway that fails it is not ready.
func (c *Compiler) SelfTest(ctx context.Context) error {
	standard := withDefaults(model.WAF{}, 0)
	e, err := c.engine(standard)
	if err != nil {
		return fmt.Errorf("compiling the core rule set: %w", err)
	}
	var errs []error
	engines := c.compiled()
	for _, s := range engines {
		errs = append(errs, s.complete())
	}
	if c.options.NoCanaries {
		return errors.Join(errs...)
	}
	errs = append(errs, canaries(ctx, e))
	if slices.ContainsFunc(engines, func(e *corazaEngine) bool { return e.answers }) {
		errs = append(errs, c.answerCanaries(ctx, standard))
	}
	return errors.Join(errs...)
}

func (c *Compiler) compiled() []*corazaEngine {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []*corazaEngine
	for _, s := range c.engines {
		if s.engine != nil {
			out = append(out, s.engine)
		}
	}
	return out
}

func (c *Compiler) engine(w model.WAF) (*corazaEngine, error) {
	directives := c.rules.directives(w, c.options)
	c.mu.Lock()
	s := c.engines[directives]
	if s == nil {
		s = &shared{}
		c.engines[directives] = s
	}
	s.round = c.round
	c.mu.Unlock()
	s.once.Do(func() {
		e, err := newCoraza(w, directives, c.rules, c.options.Trace)
		c.mu.Lock()
		defer c.mu.Unlock()
		s.engine, s.err = e, err
		if err != nil {
			delete(c.engines, directives)
		}
	})
	return s.engine, s.err
}
