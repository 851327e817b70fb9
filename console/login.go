package console

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"fengsui/registry"
)

// Me is who is logged in.
type Me struct {
	Name     string `json:"name"`
	Role     string `json:"role" enum:"admin,analyst,auditor"`
	Unit     string `json:"unit,omitempty" doc:"sees only this unit and those below; absent: everything"`
	UnitName string `json:"unit_name,omitempty"`
	OneTime  bool   `json:"one_time" doc:"the password must be changed before anything else"`
}

type meOutput struct{ Body Me }

func (v *viewer) me() *meOutput {
	unit, _ := v.directory.Unit(v.Unit)
	return &meOutput{Me{Name: v.Name, Role: string(v.Role), Unit: v.Unit, UnitName: unit.Name, OneTime: v.OneTime}}
}

type loginInput struct {
	remote
	Body struct {
		Name     string `json:"name" minLength:"1" maxLength:"128"`
		Password string `json:"password" minLength:"1" maxLength:"1024"`
	}
}

type passwordInput struct {
	remote
	Body struct {
		Old string `json:"old" minLength:"1" maxLength:"1024"`
		New string `json:"new" minLength:"12" maxLength:"1024" doc:"at least 12 characters"`
	}
}

// remote is where a request came from.
type remote struct{ address string }

// Resolve implements huma.Resolver.
func (r *remote) Resolve(hc huma.Context) []error {
	r.address = peer(&http.Request{RemoteAddr: hc.RemoteAddr()}).String()
	return nil
}

func (c *Console) registerLogin() {
	huma.Register(c.api, operation(http.MethodPost, "login", "Log in", forAll, http.StatusTooManyRequests), c.login)
	huma.Register(c.api, operation(http.MethodPost, "logout", "Log out", forOneTime), c.logout)
	huma.Register(c.api, operation(http.MethodGet, "me", "Who is logged in", forOneTime),
		func(ctx context.Context, _ *struct{}) (*meOutput, error) { return viewerOf(ctx).me(), nil })
	huma.Register(c.api, operation(http.MethodPost, "password", "Change the own password", forOneTime, http.StatusTooManyRequests), c.changePassword)
}

func (c *Console) login(ctx context.Context, in *loginInput) (*meOutput, error) {
	name := in.Body.Name
	log := c.deps.Log.With("audit", "login", "user", name, "from", in.address)
	done, ok := c.attempts.try(ctx, name, in.address)
	if !ok {
		c.logins.WithLabelValues("limited").Inc()
		log.Warn("login refused: too many attempts")
		return nil, problem(http.StatusTooManyRequests, codeTooMany, "too many attempts; wait a minute")
	}
	_, err := c.deps.Registry.Login(ctx, name, in.Body.Password)
	done(err == nil)
	if errors.Is(err, registry.ErrLogin) {
		c.logins.WithLabelValues("wrong").Inc()
		log.Warn("login refused: wrong name or password")
		return nil, problem(http.StatusUnauthorized, codeWrongPassword, "name or password is wrong")
	}
	if err != nil {
		return nil, c.internal("a login", err)
	}
	v, err := c.viewer(ctx, name)
	if err != nil {
		return nil, c.internal("a login", err)
	}
	if err := c.sessions.RenewToken(ctx); err != nil { // against a token that somebody else has set
		return nil, c.internal("a login", err)
	}
	c.sessions.Put(ctx, nameKey, name)
	c.logins.WithLabelValues("ok").Inc()
	log.Info("logged in", "role", v.Role)
	return v.me(), nil
}

func (c *Console) logout(ctx context.Context, _ *struct{}) (*struct{}, error) {
	if err := c.sessions.Destroy(ctx); err != nil {
		return nil, c.internal("a logout", err)
	}
	c.deps.Log.Info("logged out", "audit", "logout", "user", viewerOf(ctx).Name)
	return nil, nil
}

func (c *Console) changePassword(ctx context.Context, in *passwordInput) (*meOutput, error) {
	v := viewerOf(ctx)
	log := c.deps.Log.With("audit", "password", "user", v.Name, "from", in.address)
	if in.Body.New == in.Body.Old {
		return nil, problem(http.StatusUnprocessableEntity, codeInvalid, "the new password is the old one")
	}
	done, ok := c.attempts.try(ctx, v.Name, in.address)
	if !ok {
		return nil, problem(http.StatusTooManyRequests, codeTooMany, "too many attempts; wait a minute")
	}
	err := c.deps.Registry.ChangePassword(ctx, v.Name, in.Body.Old, in.Body.New)
	done(err == nil)
	if errors.Is(err, registry.ErrLogin) {
		log.Warn("password not changed: the old one is wrong")
		return nil, problem(http.StatusUnprocessableEntity, codeWrongPassword, "the old password is wrong")
	}
	if err != nil {
		return nil, c.internal("changing a password", err)
	}
	if err := errors.Join(c.sessions.RenewToken(ctx), c.endOthers(ctx, v.Name)); err != nil {
		return nil, c.internal("changing a password", err)
	}
	log.Info("password changed")
	v.OneTime = false
	return v.me(), nil
}
