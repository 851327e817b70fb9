package http

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
)

// Token is a secret that a unit's shippers show. It is given in one of three ways.
type Token struct {
	Unit       string `koanf:"unit"`                 // code of the unit that its lines belong to; empty: the input's
	Secret     string `koanf:"secret" secret:"true"` // itself, at least 16 characters
	SecretFile string `koanf:"secret_file"`          // a file that holds it
	SecretEnv  string `koanf:"secret_env"`           // an environment variable that holds it
}

const leastSecret = 16

func (t Token) validate() error {
	given := 0
	for _, s := range []string{t.Secret, t.SecretFile, t.SecretEnv} {
		if s != "" {
			given++
		}
	}
	if given != 1 {
		return errors.New("give one of secret, secret_file, secret_env")
	}
	if t.Secret == "***" {
		return errors.New(`secret is "***", which stands in a dump for a secret`)
	}
	if t.Secret != "" && len(t.Secret) < leastSecret {
		return fmt.Errorf("secret is shorter than %d characters", leastSecret)
	}
	if len(t.Unit) > 64 || strings.ContainsAny(t.Unit, " \t\r\n") {
		return fmt.Errorf("unit: %q is no code of a unit", t.Unit)
	}
	return nil
}

func (t Token) read() (string, error) {
	secret := t.Secret
	switch {
	case t.SecretFile != "":
		text, err := os.ReadFile(t.SecretFile)
		if err != nil {
			return "", err
		}
		secret = strings.TrimSpace(string(text))
	case t.SecretEnv != "":
		secret = os.Getenv(t.SecretEnv)
	}
	if len(secret) < leastSecret {
		return "", fmt.Errorf("the secret in %s%s is shorter than %d characters", t.SecretFile, t.SecretEnv, leastSecret)
	}
	return secret, nil
}

// knownToken is a token by its hash: hashes are as long as each other, and tell
// nothing when they differ early.
type knownToken struct {
	hash [sha256.Size]byte
	unit string
}

func readTokens(tokens []Token) ([]knownToken, error) {
	var known []knownToken
	for i, t := range tokens {
		secret, err := t.read()
		if err != nil {
			return nil, fmt.Errorf("tokens: number %d: %w", i+1, err)
		}
		known = append(known, knownToken{sha256.Sum256([]byte(secret)), t.Unit})
	}
	return known, nil
}

var (
	errNoToken    = errors.New("a token is required")
	errWrongToken = errors.New("this token is not known")
)

// unit authenticates a request and says which unit its lines belong to; "" is the
// input's. A token goes before a certificate.
func (in *Input) unit(r *http.Request) (string, error) {
	authorization := r.Header.Get("Authorization")
	if authorization == "" {
		if r.TLS != nil && len(in.cfg.TLS.Clients) > 0 { // the handshake has checked it
			return in.cfg.TLS.Unit(*r.TLS), nil
		}
		if in.cfg.Anonymous {
			return "", nil
		}
		return "", errNoToken
	}
	found := -1
	for _, secret := range secrets(authorization) {
		hash := sha256.Sum256([]byte(secret))
		for i := range in.tokens {
			if subtle.ConstantTimeCompare(hash[:], in.tokens[i].hash[:]) == 1 {
				found = i
			}
		}
	}
	if found < 0 {
		return "", errWrongToken
	}
	return in.tokens[found].unit, nil
}

// secrets is what an Authorization header may mean to show: a Bearer's or
// Splunk's token; an ApiKey as it is, or the key of "id:key" in base64, which is
// what Elasticsearch's clients make of it; Basic's password.
func secrets(authorization string) []string {
	scheme, value, _ := strings.Cut(authorization, " ")
	value = strings.TrimSpace(value)
	decoded, err := base64.StdEncoding.DecodeString(value)
	_, second, pair := strings.Cut(string(decoded), ":")
	pair = pair && err == nil
	switch strings.ToLower(scheme) {
	case "bearer", "splunk":
		return []string{value}
	case "apikey":
		if pair {
			return []string{value, second}
		}
		return []string{value}
	case "basic":
		if pair {
			return []string{second}
		}
	}
	return nil
}
