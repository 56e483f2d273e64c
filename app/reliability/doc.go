// Package reliability holds the test behind docs/reliability.md: fleets on several hosts, under load, to which everything
// happens that happens to hosts. It has no code of its own.
package reliability
