package model

import "slices"

// Process is a command of a service as "palisade up" starts it.
type Process struct {
	Service string
	Address string   // where it will listen: scheme://host:port
	Build   []string // runs to its end before Command, outside the service's isolated network; empty: nothing
	Command []string
	Dir     string           // absolute
	Env     map[string]Value // references absolute; see Value.Resolve
	Ready   string           // path that answers 2xx; "" when it is ready once its port accepts
	After   []string         // services with a command that must be ready first, sorted; never in a circle
}

// Processes returns the commands of all services in the order of starting: first what nothing waits for. A
// service waits for those its After names and for those it calls, except where services call each other in a
// circle.
func (d *Declared) Processes() []Process {
	var out []Process
	waits := d.waits()
	for _, name := range d.startOrder(waits) {
		s := d.Fleet.Services[name]
		key := join("services", name) + ".run"
		p := Process{Service: name, Address: s.Address, Build: slices.Clone(s.Run.Build), Command: slices.Clone(s.Run.Command), Ready: s.Run.Ready, Dir: d.folder(key)}
		if s.Run.Dir != "" {
			if dir, err := d.resolve(key+".dir", s.Run.Dir); err == nil {
				p.Dir = dir
			}
		}
		c := &compiler{Declared: d}
		for _, variable := range sortedKeys(s.Run.Env) {
			if p.Env == nil {
				p.Env = make(map[string]Value, len(s.Run.Env))
			}
			v := s.Run.Env[variable]
			v.FromFile = c.absolute(join(key+".env", variable)+".from_file", v.FromFile)
			p.Env[variable] = v
		}
		for _, other := range out {
			if slices.Contains(waits[name], other.Service) {
				p.After = append(p.After, other.Service)
			}
		}
		slices.Sort(p.After)
		out = append(out, p)
	}
	return out
}

// waits lists for each service what it needs before it starts: After, and the services that name it as caller.
func (d *Declared) waits() map[string][]string {
	out := make(map[string][]string, len(d.Fleet.Services))
	for name, s := range d.Fleet.Services {
		if s.Run != nil {
			out[name] = append(out[name], s.Run.After...)
		}
		for _, caller := range d.Fleet.callersOf(name) {
			if caller != name {
				out[caller] = append(out[caller], name)
			}
		}
	}
	for name := range out {
		out[name] = sorted(out[name])
	}
	return out
}

// startOrder sorts the services with a command so that each stands behind what it waits for. Where they call each
// other in a circle, the one that waits for fewest goes first; After always holds.
func (d *Declared) startOrder(waits map[string][]string) []string {
	var order, left []string
	for _, name := range sortedKeys(d.Fleet.Services) {
		if run := d.Fleet.Services[name].Run; run != nil && len(run.Command) > 0 {
			left = append(left, name)
		}
	}
	started := make(map[string]bool, len(left))
	for name, s := range d.Fleet.Services {
		started[name] = s.Run == nil || len(s.Run.Command) == 0 // nothing to wait for
	}
	for len(left) > 0 {
		next := slices.MinFunc(left, func(a, b string) int { return d.missing(a, waits[a], started) - d.missing(b, waits[b], started) })
		started[next] = true
		order = append(order, next)
		left = slices.DeleteFunc(left, func(n string) bool { return n == next })
	}
	return order
}

// missing weighs what a service still waits for: one of After weighs more than all callees together.
func (d *Declared) missing(name string, waits []string, started map[string]bool) int {
	weight := 0
	for _, other := range waits {
		switch {
		case other == name || started[other]:
		case slices.Contains(d.Fleet.Services[name].Run.After, other):
			weight += 1 + len(d.Fleet.Services)
		default:
			weight++
		}
	}
	return weight
}
