package model

import "slices"

// Process is a command of a service as "palisade up" starts it.
type Process struct {
	Service string
	Address string // where it will listen: scheme://host:port
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
	for _, name := range d.startOrder() {
		s := d.Fleet.Services[name]
		key := join("services", name) + ".run"
		p := Process{Service: name, Address: s.Address, Command: slices.Clone(s.Run.Command), Ready: s.Run.Ready, Dir: d.folder(key)}
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
			if slices.Contains(d.waitsFor(name), other.Service) {
				p.After = append(p.After, other.Service)
			}
		}
		slices.Sort(p.After)
		out = append(out, p)
	}
	return out
}

// waitsFor lists what a service needs before it starts: After, and the services that name it as caller.
func (d *Declared) waitsFor(name string) []string {
	var out []string
	if run := d.Fleet.Services[name].Run; run != nil {
		out = append(out, run.After...)
	}
	for _, other := range sortedKeys(d.Fleet.Services) {
		if other != name && slices.Contains(d.Fleet.Services[other].Callers, name) {
			out = append(out, other)
		}
	}
	return sorted(out)
}

// startOrder sorts the services with a command so that each stands behind what it waits for. Where they call each
// other in a circle, the one that waits for fewest goes first; After always holds.
func (d *Declared) startOrder() []string {
	var order, left []string
	for _, name := range sortedKeys(d.Fleet.Services) {
		if run := d.Fleet.Services[name].Run; run != nil && len(run.Command) > 0 {
			left = append(left, name)
		}
	}
	for len(left) > 0 {
		next := slices.MinFunc(left, func(a, b string) int { return d.missing(a, left) - d.missing(b, left) })
		order = append(order, next)
		left = slices.DeleteFunc(left, func(n string) bool { return n == next })
	}
	return order
}

// missing weighs what a service still waits for: one of After weighs more than all callees together.
func (d *Declared) missing(name string, left []string) int {
	weight := 0
	for _, other := range d.waitsFor(name) {
		switch {
		case other == name || !slices.Contains(left, other):
		case slices.Contains(d.Fleet.Services[name].Run.After, other):
			weight += 1 + len(d.Fleet.Services)
		default:
			weight++
		}
	}
	return weight
}
