package export

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/palisade-security/palisade/model"
)

// ComposeOptions say what of a Compose project the model does not. The zero value has usable defaults.
type ComposeOptions struct {
	Image string // of this program; default DefaultImage. It may hold ${VARIABLES} of Compose
	Model string // folder with the model, as seen from the Compose file; default "."
}

// The folders in containers of this program.
const (
	stateFolder = "/var/lib/palisade"
	modelFolder = "/etc/palisade"
)

// compose is one export.
type compose struct {
	*fleet
	o       ComposeOptions
	slicer  *model.Slicer
	outside []string            // networks that lead out of the host
	inside  map[string][]string // networks without a way out, to the containers on them
	joined  map[string][]string // container to its networks
	volumes []string
	secrets []string // names of join tokens
}

// Compose writes an overlay for a Compose file (Compose Specification, with !reset: Docker Compose 2.24 and later)
// whose services have the names of the model's. Each service shares the network of a sidecar of its own, has no
// other and publishes no port. There is one network without a way out for each sidecar and control, one for
// each declared call, and one that leads out for each service that declares hosts outside.
//
// Compose knows no direction: the callee of a declared call can open connections to its caller. What listens on
// loopback alone, as services behind a sidecar should, is not reached by them.
func Compose(s *model.Snapshot, o ComposeOptions) (*Result, error) {
	f, err := newFleet(s)
	if err != nil {
		return nil, err
	}
	o.Image, o.Model = cmp.Or(o.Image, DefaultImage), cmp.Or(o.Model, ".")
	c := &compose{fleet: f, o: o, slicer: model.NewSlicer(s), inside: map[string][]string{}, joined: map[string][]string{}}
	c.check()
	c.connect()
	containers := fields{}
	for _, s := range c.services {
		containers = append(containers, field{s.Name, c.service(s)}, field{sidecarOf(s.Name), c.sidecar(s)})
	}
	if len(c.Routes) > 0 {
		containers = append(containers, field{EdgeName, c.edge()})
	}
	containers = append(containers, field{ControlName, c.control()})
	networks := fields{}
	for _, name := range slices.Sorted(maps.Keys(c.inside)) {
		networks = append(networks, field{name, fields{{"internal", true}}})
	}
	for _, name := range c.outside {
		networks = append(networks, field{name, fields{}})
	}
	volumes := fields{}
	for _, name := range c.volumes {
		volumes = append(volumes, field{name, fields{}})
	}
	secrets := fields{}
	for _, name := range c.secrets {
		secrets = append(secrets, field{name, fields{{"file", "./tokens/" + strings.TrimSuffix(name, tokenSuffix)}}})
	}
	return c.result("compose", []byte(encode(fields{{"services", containers}, {"networks", networks}, {"volumes", volumes}, {"secrets", secrets}})))
}

func sidecarOf(service string) string { return service + "-sidecar" }

// check finds what cannot work in containers.
func (c *compose) check() {
	if c.o.Image != oneLine(c.o.Image) || strings.ContainsAny(c.o.Image, " \"'\\") {
		c.fail("--image", "%q is not the name of an image", c.o.Image)
	}
	if c.o.Model != oneLine(c.o.Model) {
		c.fail("--mount", "%q is not a folder; expected its path as seen from the Compose file", c.o.Model)
	}
	ours := map[string]string{EdgeName: "the edge", ControlName: "control"}
	for _, s := range c.services {
		ours[sidecarOf(s.Name)] = "the sidecar of " + s.Name
	}
	for _, s := range c.services {
		key := "services." + s.Name
		if what, taken := ours[s.Name]; taken {
			c.fail(key, "its name is that of %s; rename the service", what)
		}
		if host, number := split(s.Address); !local(host) {
			c.fail(key+".address", "%s is not loopback, and the service shares the network of its sidecar alone; write 127.0.0.1:%d and let it listen there", s.Address, number)
		}
		for _, address := range s.Sidecars {
			if host, _ := split(address); host != sidecarOf(s.Name) {
				c.gap(key+".sidecar.addresses", "%s is not where the container is; others find it as %s", address, sidecarOf(s.Name))
			}
		}
	}
	if host, number := split(c.Mesh.Control); host != ControlName {
		c.gap("mesh.control.address", "%s is not where the container of control is; sidecars find it as %s:%d", c.Mesh.Control, ControlName, number)
	}
	if host, _ := split(c.Telemetry.OTLP); c.Telemetry.OTLP != "" {
		c.gap("telemetry.otlp", "sidecars reach %s only if it is on a network of theirs", host)
	}
}

// connect decides who is on which network.
func (c *compose) connect() {
	for _, s := range c.services {
		c.link("mesh."+s.Name, sidecarOf(s.Name), ControlName)
		for _, caller := range callers(s) {
			c.link("mesh."+caller+"."+s.Name, sidecarOf(caller), sidecarOf(s.Name))
		}
		if c.exposed[s.Name] {
			c.link("mesh."+EdgeName+"."+s.Name, EdgeName, sidecarOf(s.Name))
		}
		if len(s.Egress) > 0 {
			c.leave("outside."+s.Name, sidecarOf(s.Name))
			c.gap("services."+s.Name+".egress", "the service shares the way out of its sidecar, which alone holds the hosts declared")
		}
	}
	if len(c.Routes) > 0 {
		c.link("mesh."+EdgeName, EdgeName, ControlName)
		c.leave("outside."+EdgeName, EdgeName)
	}
	if server := c.Mesh.Server; c.Mesh.Keys != "" || len(c.Mesh.Federation) > 0 || server.Store != (model.Value{}) || len(server.Bus.URLs) > 0 ||
		server.Administrators != nil || server.Kubernetes != nil {
		c.leave("outside."+ControlName, ControlName)
	}
	for _, all := range c.joined {
		slices.Sort(all)
	}
	slices.Sort(c.outside)
}

func (c *compose) link(network string, containers ...string) {
	c.inside[network] = containers
	for _, name := range containers {
		c.joined[name] = append(c.joined[name], network)
	}
}

func (c *compose) leave(network, container string) {
	c.outside = append(c.outside, network)
	c.joined[container] = append(c.joined[container], network)
}

// service takes its network away from a service and gives it that of its sidecar. What a container without a
// network of its own must not have is reset.
func (c *compose) service(s *model.ResolvedService) fields {
	out := fields{{"network_mode", "service:" + sidecarOf(s.Name)}}
	for _, key := range []string{"networks", "ports", "expose", "links", "external_links", "extra_hosts", "dns", "dns_search", "hostname", "domainname", "mac_address"} {
		out = append(out, field{key, marked{tag: "!reset"}})
	}
	return append(
		out,
		field{"cap_drop", words("NET_ADMIN", "NET_RAW")},
		field{"depends_on", fields{{sidecarOf(s.Name), fields{{"condition", "service_started"}, {"restart", true}}}}},
	)
}

// sidecar is the only way to a service and from it. The names of its callees lead to it, at the addresses at which it
// listens, and so do those of all other services, so that calls that nobody declared are refused and recorded.
func (c *compose) sidecar(s *model.ResolvedService) fields {
	var names list
	known := model.Hosts(c.slicer.Service(s.Name).Doors(s.Name))
	for _, other := range c.services {
		if other.Name != s.Name && !known[other.Name].IsValid() {
			known[other.Name], known[other.Name+model.MeshHost] = model.Undeclared(), model.Undeclared()
		}
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		names = append(names, name+"="+known[name].String())
	}
	// On each network its address is another one; its name leads to the one that whoever asks can reach.
	out := c.fed(c.ours(sidecarOf(s.Name), false, "sidecar", "--service", s.Name), s.Name, field{"PALISADE_ADVERTISE", sidecarOf(s.Name) + ":" + strconv.Itoa(DefaultSidecarPort)})
	if len(names) > 0 {
		out = append(out, field{"extra_hosts", names})
	}
	return append(out, after(ControlName))
}

// control gets the secrets that the model takes from the environment.
func (c *compose) control() fields {
	out := c.ours(ControlName, true, "control", modelFolder)
	environment := fields{{"PALISADE_STATE", stateFolder}}
	for _, v := range []model.Value{c.Mesh.Server.Store, c.Mesh.Key} {
		if v.FromEnv != "" {
			environment = append(environment, field{v.FromEnv, "${" + v.FromEnv + ":?}"})
		}
		if v.FromFile != "" {
			c.gap("mesh", "%s must be mounted into the container of control", v.FromFile)
		}
	}
	for i := range out {
		if out[i].key == "environment" {
			out[i].value = environment
		}
	}
	return out
}

// edge is the only container whose ports the host publishes.
func (c *compose) edge() fields {
	var published list
	for _, name := range slices.Sorted(maps.Keys(c.Edge.Listeners)) {
		l := c.Edge.Listeners[name]
		for _, address := range []string{l.Address, l.RedirectFrom} {
			if address == "" {
				continue
			}
			host, number := split(address)
			p := fields{{"target", number}, {"published", strconv.Itoa(number)}, {"protocol", "tcp"}}
			if !everywhere(host) {
				c.gap("edge.listeners."+name, "%s is no address of a container; write \":%d\", and the port is published there", address, number)
				if host == "localhost" {
					host = "127.0.0.1"
				}
				if a, err := netip.ParseAddr(host); err == nil {
					p = append(p, field{"host_ip", a.String()})
				}
			}
			published = append(published, p)
		}
	}
	// The folder of the model is for certificates that it names; the model itself comes from control.
	return append(c.fed(c.ours(EdgeName, true, "edge"), EdgeName), field{"ports", published}, after(ControlName))
}

const tokenSuffix = "-token"

// fed tells a container where control is, and gives it the join token in ./tokens/NAME, which is needed the first time alone.
func (c *compose) fed(container fields, name string, more ...field) fields {
	secret := name + tokenSuffix
	c.secrets = append(c.secrets, secret)
	_, number := split(c.Mesh.Control)
	for i := range container {
		if container[i].key == "environment" {
			container[i].value = append(fields{
				{"PALISADE_STATE", stateFolder},
				{"PALISADE_CONTROL", ControlName + ":" + strconv.Itoa(number)},
				{"PALISADE_TRUST_DOMAIN", c.TrustDomain},
				{"PALISADE_JOIN_TOKEN_FILE", "/run/secrets/" + secret},
			}, more...)
		}
	}
	return append(container, field{"secrets", words(secret)})
}

// ours is a container of this program. It needs no rights.
func (c *compose) ours(name string, reads bool, command ...string) fields {
	volume := name + "-state"
	c.volumes = append(c.volumes, volume)
	mounts := list{fields{{"type", "volume"}, {"source", volume}, {"target", stateFolder}}}
	if reads {
		mounts = append(mounts, fields{{"type", "bind"}, {"source", c.o.Model}, {"target", modelFolder}, {"read_only", true}})
	}
	networks := fields{}
	for _, n := range c.joined[name] {
		networks = append(networks, field{n, fields{}})
	}
	return fields{
		{"image", c.o.Image},
		{"command", words(command...)},
		{"environment", fields{{"PALISADE_STATE", stateFolder}}},
		{"volumes", mounts},
		{"networks", networks},
		{"read_only", true},
		{"cap_drop", words("ALL")},
		{"security_opt", words("no-new-privileges:true")},
		{"restart", "unless-stopped"},
	}
}

func after(name string) field {
	return field{"depends_on", fields{{name, fields{{"condition", "service_started"}}}}}
}
