package model

import (
	"os"
	"slices"
)

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

// startOrder sorts the services with a command so that each stands behind what it waits for. After is followed
// first and to its end, so that a circle of callers gives way to it.
func (d *Declared) startOrder() []string {
	var order []string
	state := make(map[string]bool) // present: visited
	var visit func(name string)
	visit = func(name string) {
		s, known := d.Fleet.Services[name]
		if _, visited := state[name]; visited || !known {
			return
		}
		state[name] = true
		if s.Run != nil {
			for _, other := range sorted(s.Run.After) {
				visit(other)
			}
		}
		for _, other := range d.waitsFor(name) {
			visit(other)
		}
		if s.Run != nil && len(s.Run.Command) > 0 {
			order = append(order, name)
		}
	}
	for _, name := range sortedKeys(d.Fleet.Services) {
		visit(name)
	}
	return order
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
