package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"github.com/palisade-security/palisade/app/capture"
	"github.com/palisade-security/palisade/model"
)

// ownNetns is what the network namespace of this process is called on the command line.
const ownNetns = "self"

// Capture is what "palisade capture on" was told. What it was not told stands in the model.
type Capture struct {
	Service     string
	Users       []string // names or numbers
	Netns       string   // path or name, or self; without Users all of it is the service's
	SidecarUser string
	Port        uint16
	Serves      *uint16 // 0: the service takes no calls
	Resolvers   []string
}

// CaptureOn captures what a service asks, or only shows the ruleset.
func CaptureOn(ctx context.Context, o *Options, c *Capture, show bool) error {
	r, err := c.rules(o)
	if err != nil {
		return err
	}
	if show {
		text, err := r.Text()
		if err != nil {
			return err
		}
		_, err = fmt.Fprint(o.Out, text)
		return err
	}
	if err := capture.On(ctx, netns(c.Netns), r); err != nil {
		return err
	}
	warnSubordinate(ctx, r)
	all, err := capture.List(ctx, netns(c.Netns))
	if err != nil {
		return err
	}
	return o.showCaptures(slices.DeleteFunc(all, func(s capture.Status) bool { return s.Service != c.Service }))
}

// warnSubordinate says which users can be others, whom the rules do not know.
func warnSubordinate(ctx context.Context, r *capture.Rules) {
	text, err := os.ReadFile("/etc/subuid")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		slog.WarnContext(ctx, "nothing is known of subordinate ids", "error", err)
	}
	for _, u := range r.Users {
		if capture.Subordinate(string(text), u) {
			slog.WarnContext(ctx, "this user can run processes under subordinate ids, which are not captured", "user", u, "mend", "take it out of /etc/subuid, or run the service with NoNewPrivileges=yes")
		}
	}
}

// CaptureOff ends what CaptureOn began.
func CaptureOff(ctx context.Context, o *Options, service, namespace string) error {
	if err := capture.Off(ctx, netns(namespace), service); err != nil {
		return err
	}
	_, err := fmt.Fprintf(o.Out, "%s is not captured any more\n", service)
	return err
}

// CaptureStatus shows what is captured: of one service, or of all if it has no name. It reports whether there is any.
func CaptureStatus(ctx context.Context, o *Options, service, namespace string) (bool, error) {
	all, err := capture.List(ctx, netns(namespace))
	if err != nil {
		return false, err
	}
	if service != "" {
		all = slices.DeleteFunc(all, func(s capture.Status) bool { return s.Service != service })
	}
	return len(all) > 0, o.showCaptures(all)
}

func netns(s string) string {
	if s == ownNetns {
		return ""
	}
	return s
}

// rules puts together what is said on the command line and in the model.
func (c *Capture) rules(o *Options) (*capture.Rules, error) {
	r := &capture.Rules{Service: c.Service, Port: c.Port}
	users := c.Users
	if len(users) == 0 && c.Netns == "" || c.Serves == nil {
		svc, err := c.declared(o)
		if err != nil {
			return nil, err
		}
		if len(users) == 0 && c.Netns == "" {
			if users, err = usersOf(svc); err != nil {
				return nil, err
			}
		}
		if c.Serves == nil {
			r.Serves = uint16(svc.Port())
		}
	}
	if c.Serves != nil {
		r.Serves = *c.Serves
	}
	slices.Sort(users)
	for _, name := range slices.Compact(users) {
		u, err := capture.FindUser(name)
		if err != nil {
			return nil, err
		}
		r.Users = append(r.Users, u)
	}
	sidecar, err := capture.FindUser(c.SidecarUser)
	if err != nil {
		return nil, fmt.Errorf("--sidecar-user: %w", err)
	}
	r.Sidecar = &sidecar
	for _, text := range c.Resolvers {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("--resolver %s: expected an address, such as 127.0.0.53", text)
		}
		r.Resolvers = append(r.Resolvers, a)
	}
	return r, nil
}

// declared is the service as the model has it.
func (c *Capture) declared(o *Options) (*model.ResolvedService, error) {
	_, snap, findings, err := o.load(true)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w; name the model, or say all of it: --user or --netns, and --serves", err), o.printFindings(o.Err, findings))
	}
	svc := snap.ServiceByName(c.Service)
	if svc == nil {
		return nil, fmt.Errorf("the model has no service %q", c.Service)
	}
	return svc, nil
}

// usersOf are the users that a service runs as.
func usersOf(svc *model.ResolvedService) ([]string, error) {
	var users []string
	for _, w := range svc.Workloads {
		if w.Unix == nil || w.Unix.User == "" {
			users = nil
			break
		}
		users = append(users, w.Unix.User)
	}
	if len(users) == 0 {
		return nil, fmt.Errorf("the model does not say which user runs %s (workloads: [{unix: {user: %s}}]); say it with --user, or name its network namespace with --netns", svc.Name, svc.Name)
	}
	return users, nil
}

func (o *Options) showCaptures(all []capture.Status) error {
	if o.JSON {
		if all == nil {
			all = []capture.Status{}
		}
		return writeJSON(o.Out, all)
	}
	if len(all) == 0 {
		_, err := fmt.Fprintln(o.Out, "nothing is captured here")
		return err
	}
	for _, s := range all {
		whose := "everything in its network namespace"
		if len(s.Users) > 0 {
			names := make([]string, len(s.Users))
			for i, u := range s.Users {
				names[i] = userName(u)
			}
			whose = "user " + strings.Join(names, ", ")
		}
		serves := "takes no calls"
		if s.Serves != 0 {
			serves = "takes calls on " + strconv.Itoa(int(s.Serves))
		}
		_, err := fmt.Fprintf(o.Out, "%s  %s → %s  %s  %d connections captured, %d packets past the sidecar refused, %d toward the service\n",
			s.Service, whose, net.JoinHostPort("localhost", strconv.Itoa(int(s.Port))), serves, s.Captured, s.RefusedOut, s.RefusedIn)
		if err != nil {
			return err
		}
	}
	return nil
}

// userName names a user, if the machine knows it.
func userName(u capture.User) string {
	if known, err := user.LookupId(u.String()); err == nil {
		return known.Username
	}
	return u.String()
}
