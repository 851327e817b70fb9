package registry

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/uptrace/bun"
	"golang.org/x/crypto/argon2"
)

// Role is what a person may do.
type Role string

// The roles.
const (
	RoleAdmin   Role = "admin"   // may change everything
	RoleAnalyst Role = "analyst" // may read, and decide about alerts
	RoleAuditor Role = "auditor" // may read only
)

// User is a person who may log in.
type User struct {
	Name    string
	Role    Role
	Unit    string // sees only this unit and those below; "" is everything
	OneTime bool   // the password must be changed before anything else
}

type userRow struct {
	bun.BaseModel `bun:"table:users"`
	Name          string `bun:",pk"`
	Password      string
	Role          string
	Unit          string
	OneTime       bool
	Created       time.Time
}

// ErrLogin says that name and password are not those of a user, and not which
// of the two is wrong.
var ErrLogin = errors.New("name or password is wrong")

// MinPassword is the shortest password that a person may choose, in bytes.
const MinPassword = 12

// EnsureAdmin makes the first administrator when there is no user at all, and
// returns the one-time password; "" when there are users.
func (r *Registry) EnsureAdmin(ctx context.Context) (password string, err error) {
	n, err := r.db.NewSelect().Model((*userRow)(nil)).Count(ctx)
	if err != nil {
		return "", fmt.Errorf("looking for users: %w", err)
	}
	if n > 0 {
		return "", nil
	}
	return r.ResetPassword(ctx, User{Name: "admin", Role: RoleAdmin})
}

// ResetPassword makes the user, or gives the one there is a new one-time
// password, and returns it.
func (r *Registry) ResetPassword(ctx context.Context, u User) (password string, err error) {
	password = rand.Text()[:16]
	row := &userRow{
		Name: u.Name, Password: hashPassword(password), Role: string(u.Role), Unit: u.Unit,
		OneTime: true, Created: time.Now().UTC(),
	}
	_, err = r.db.NewInsert().Model(row).On("CONFLICT (name) DO UPDATE").
		Set("password = EXCLUDED.password").Set("one_time = EXCLUDED.one_time").Exec(ctx)
	if err != nil {
		return "", fmt.Errorf("setting the password of %s: %w", u.Name, err)
	}
	return password, nil
}

// dummyHash makes a login with an unknown name take as long as one with a
// known name.
var dummyHash = hashPassword("no such user")

// Login returns the user, or ErrLogin.
func (r *Registry) Login(ctx context.Context, name, password string) (User, error) {
	var rows []userRow
	if err := r.db.NewSelect().Model(&rows).Where("name = ?", name).Scan(ctx); err != nil {
		return User{}, fmt.Errorf("looking up a user: %w", err)
	}
	hash := dummyHash
	if len(rows) == 1 {
		hash = rows[0].Password
	}
	if ok := checkPassword(hash, password); !ok || len(rows) != 1 {
		return User{}, ErrLogin
	}
	return rows[0].user(), nil
}

func (u *userRow) user() User {
	return User{Name: u.Name, Role: Role(u.Role), Unit: u.Unit, OneTime: u.OneTime}
}

// User returns the user as they are now, or an ErrNotFound: a session lasts
// longer than what somebody was allowed when it began.
func (r *Registry) User(ctx context.Context, name string) (User, error) {
	var rows []userRow
	if err := r.db.NewSelect().Model(&rows).Where("name = ?", name).Scan(ctx); err != nil {
		return User{}, fmt.Errorf("looking up a user: %w", err)
	}
	if len(rows) == 0 {
		return User{}, classified{fmt.Errorf("user %q is not in the registry", name), ErrNotFound}
	}
	return rows[0].user(), nil
}

// ChangePassword sets a password of the person's own choice.
func (r *Registry) ChangePassword(ctx context.Context, name, old, chosen string) error {
	if len(chosen) < MinPassword {
		return fmt.Errorf("a password has at least %d characters", MinPassword)
	}
	if chosen == old {
		return errors.New("the new password is the old one")
	}
	if _, err := r.Login(ctx, name, old); err != nil {
		return err
	}
	_, err := r.db.NewUpdate().Model((*userRow)(nil)).Set("password = ?", hashPassword(chosen)).
		Set("one_time = ?", false).Where("name = ?", name).Exec(ctx)
	if err != nil {
		return fmt.Errorf("changing the password of %s: %w", name, err)
	}
	return nil
}

// Argon2id's parameters are the second recommended set of RFC 9106 §4.
const (
	argonTime    = 3
	argonMemory  = 64 << 10 // KiB
	argonThreads = 4
	argonKey     = 32
)

func hashPassword(password string) string {
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails: crypto/rand
	key := argon2.IDKey([]byte(password), salt, argonTime, argonMemory, argonThreads, argonKey)
	enc := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonThreads, enc(salt), enc(key))
}

func checkPassword(hash, password string) bool {
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[1] != "argon2id" {
		return false
	}
	var memory, time uint32
	var threads uint8
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &memory, &time, &threads); err != nil {
		return false
	}
	salt, errSalt := base64.RawStdEncoding.DecodeString(parts[4])
	key, errKey := base64.RawStdEncoding.DecodeString(parts[5])
	if errSalt != nil || errKey != nil || len(key) == 0 {
		return false
	}
	got := argon2.IDKey([]byte(password), salt, time, memory, threads, uint32(len(key))) //nolint:gosec // len(key) is 32
	return subtle.ConstantTimeCompare(got, key) == 1
}
