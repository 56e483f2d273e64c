package control_test

import (
	"context"
	"crypto/tls"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/palisade-security/palisade/control"
	"github.com/palisade-security/palisade/control/admin"
	"github.com/palisade-security/palisade/model"
)

// TestRoles holds who may ask what over HTTPS, and that all of it is written down.
func TestRoles(t *testing.T) {
	first := compile(t, shop)
	s := newSite(t, first, func(o *control.Options) {
		o.Authenticate = func(_ context.Context, token string) (control.User, error) {
			name, roles, ok := strings.Cut(token, ":")
			if !ok {
				return control.User{}, errors.New("not signed")
			}
			return control.User{Name: name, Roles: strings.Split(roles, ",")}, nil
		}
		o.Roles = map[string]admin.Role{"staff": admin.Viewer, "oncall": admin.Operator, "root": admin.Admin}
	})
	s.start()
	as := func(token string) *admin.Client {
		c := admin.Remote([]string{s.listen}, &tls.Config{InsecureSkipVerify: true}, func(context.Context) (string, error) { return token, nil })
		t.Cleanup(c.Close)
		return c
	}
	status := func(err error) int {
		if p, ok := errors.AsType[*admin.Problem](err); ok {
			return p.Status
		}
		if err != nil {
			return -1
		}
		return 200
	}
	ctx := soon(t)
	for _, c := range []struct {
		token                      string
		look, plan, revoke, invite int
	}{
		{"forged", 401, 401, 401, 401},
		{"ann:", 403, 403, 403, 403},
		{"ann:nobody", 403, 403, 403, 403},
		{"ann:staff", 200, 200, 403, 403},
		{"bob:staff,oncall", 200, 200, 400, 403},
		{"eve:oncall,root,staff", 200, 200, 400, 200},
	} {
		a := as(c.token)
		_, look := a.Status(ctx)
		_, plan := a.Plan(ctx, encode(t, first))
		_, revoke := a.Revoke(ctx, admin.RevokeRequest{Kind: "color", Value: "blue"})
		_, invite := a.Token(ctx, admin.TokenRequest{Name: "service/web"})
		if got := []int{status(look), status(plan), status(revoke), status(invite)}; got[0] != c.look || got[1] != c.plan || got[2] != c.revoke || got[3] != c.invite {
			t.Errorf("%s: %v, want %v", c.token, got, c)
		}
		want := c.invite
		if want == 200 {
			want = 409 // it may, and there are no pseudonyms
		}
		for _, plan := range []bool{true, false} {
			if _, err := a.Erase(ctx, admin.EraseRequest{User: "alice"}, plan); status(err) != want {
				t.Errorf("%s erases: %v, want %d", c.token, err, want)
			}
		}
	}
	for what, err := range map[string]error{
		"a token for nobody":     second(as("eve:root").Token(ctx, admin.TokenRequest{Name: "service/none"})),
		"a token for control":    second(as("eve:root").Token(ctx, admin.TokenRequest{Name: "control"})),
		"a token for ever":       second(as("eve:root").Token(ctx, admin.TokenRequest{Name: "service/web", TTL: model.Duration(1 << 60)})),
		"an erasure of nobody":   second(as("eve:root").Erase(ctx, admin.EraseRequest{User: " "}, false)),
		"a plan of nothing":      second(as("eve:root").Plan(ctx, []byte(`{}`))),
		"a model of nobody":      second(as("eve:root").Model(ctx, "none")),
		"both model and version": second(as("bob:oncall").Apply(ctx, admin.ApplyRequest{Model: encode(t, first), Version: "x", Before: first.Version})),
	} {
		if status(err) != 400 {
			t.Errorf("%s: %v", what, err)
		}
	}
	acts, err := s.admin().Acts(ctx, 0)
	must(t, err)
	count := map[string]int{}
	for _, a := range acts {
		count[a.Verb+" "+a.Outcome]++
		if strings.Contains(string(a.Detail), "palisade-join-") {
			t.Error("a token is written down")
		}
	}
	if count["token done"] != 1 || count["revoke failed"] != 2 || len(s.saw("token")) != 4 {
		t.Errorf("acts %v, events %d", count, len(s.saw("token")))
	}
	// One of the four is nobody: an event, but no row, or whoever comes could fill the table.
	if denied := "POST " + admin.RevokePath; count[denied+" denied"] != 3 || len(s.saw(denied)) != 4 {
		t.Errorf("acts %v, events %d", count, len(s.saw(denied)))
	}
}

func second[T any](_ T, err error) error { return err }

// TestSocket holds that another user of the host is no administrator.
func TestSocket(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be somebody else")
	}
	s := newSite(t, compile(t, shop), nil)
	s.start()
	must(t, os.Chmod(s.dir, 0o755))
	must(t, os.Chmod(s.socket(), 0o666)) // so that the answer is control's, not the file system's
	curl := exec.CommandContext(soon(t), "curl", "-s", "--unix-socket", s.socket(), "http://control"+admin.StatusPath)
	curl.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := curl.CombinedOutput()
	must(t, err)
	if !strings.Contains(string(out), `"status":403`) {
		t.Errorf("nobody is told %s", out)
	}
}
