package gate

import (
	"context"

	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/engine"
)

// WithStages makes tables that decide about what is recorded and not sent: of every stage, what replace returns is asked in
// place of its filter. What inspects and what exchanges tokens is not compiled; there f lets everything pass.
func WithStages(replace func(stage string, f proxy.Filter) proxy.Filter) Option {
	return func(all *options) { all.stage = replace }
}

// instead is what is asked in place of the filter of a stage.
func (b *Builder) instead(stage string, f proxy.Filter) proxy.Filter {
	if b.stage == nil {
		return f
	}
	return b.stage(stage, f)
}

// inspect is the inspection of a route, nil if it has none.
func (b *Builder) inspect(r model.ResolvedRoute, service model.ResolvedService) (proxy.Filter, error) {
	if b.stage == nil || r.WAF.Mode == "off" {
		return b.waf.Filter(r, service)
	}
	return proxy.FilterFunc(pass), nil
}

// exchanges is what leaves the tokens of a route at the edge, nil if they travel on.
func (b *Builder) exchanges(r model.ResolvedRoute) proxy.Filter {
	switch {
	case b.exchange != nil:
		return b.exchange.ForRoute(r)
	case b.stage != nil && b.side == engine.Edge:
		return proxy.FilterFunc(pass)
	}
	return nil
}

func pass(context.Context, *proxy.Request) error { return nil }
