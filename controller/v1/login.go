package v1

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sipio/sipio/brain"
)

const loginPath = Prefix + "/login"

// Logins knows console users and their passwords.
type Logins interface {
	// UserByEmail finds a user, nil when there is none.
	UserByEmail(email string) *brain.ConsoleUser
	// Matches says whether a password is that of a hash. With the hash "" it does the same work and says no.
	Matches(hash, password string) bool
	// Token makes a token for the user that KeyByToken knows. brain.EUnavailable: this brain has no key to sign it with.
	Token(u *brain.ConsoleUser) (token string, expires time.Time, err error)
}

type sourceKey struct{}

type loginRequest struct {
	Body struct {
		Email    string `json:"email" minLength:"1" maxLength:"254"`
		Password string `json:"password" minLength:"1" maxLength:"128" writeOnly:"true"`
	}
}

type loginReply struct {
	Body struct {
		Token     string             `json:"token" doc:"send it as Authorization: Bearer …; good for 12 hours, less when the password changes or the user is disabled"`
		ExpiresTS int64              `json:"expires_ts" doc:"epoch seconds"`
		User      *brain.ConsoleUser `json:"user"`
		Scopes    []brain.Scope      `json:"scopes"`
	}
}

func (a *API) registerLogin() {
	huma.Register(a.huma, huma.Operation{
		Method: http.MethodPost, Path: loginPath, OperationID: "login", Summary: "Log in as a console user", Tags: []string{"login"},
		Description:  "Whether there is no such user, the password is wrong or the user is disabled: the answer is the same 401. Many failures from an address, or for an email, are slowed with 429 and Retry-After, whether there is such a user or not.",
		MaxBodyBytes: 4 << 10, BodyReadTimeout: 10 * time.Second, Security: []map[string][]string{{}},
	}, a.logIn)
}

// logIn answers a login. Whoever asks learns nothing but whether email and password fit: an unknown user costs the same work.
func (a *API) logIn(ctx context.Context, in *loginRequest) (*loginReply, error) {
	if a.Logins == nil {
		return nil, refuse("log in", brain.Errorf(brain.EUnavailable, "nobody logs in to this brain"))
	}
	from, _ := ctx.Value(sourceKey{}).(string)
	email := brain.NormalEmail(in.Body.Email)
	leave, wait, err := a.login.enter(ctx, from, email)
	if err != nil || wait > 0 {
		return nil, later(wait, err)
	}
	u := a.Logins.UserByEmail(email)
	hash := ""
	if u != nil && u.Status == brain.StatusActive {
		hash = u.PasswordHash
	}
	ok := a.Logins.Matches(hash, in.Body.Password) && hash != ""
	leave(ok)
	if !ok {
		a.tellFailed(ctx, from, u)
		return nil, newProblem(http.StatusUnauthorized, "email and password do not fit, or the user is disabled")
	}
	token, expires, err := a.Logins.Token(u)
	if err != nil {
		return nil, refuse("log in", err)
	}
	a.tell(ctx, brain.AuditEntry{Actor: u.ID, Action: brain.AuditLogin, Object: u.Email, AccountID: u.AccountID, Detail: "role " + string(u.Role)})
	out := &loginReply{}
	out.Body.Token, out.Body.ExpiresTS, out.Body.User, out.Body.Scopes = token, expires.Unix(), u.Redacted(), u.Role.Scopes(u.AccountID)
	return out, nil
}

// later asks to come back.
func later(wait time.Duration, err error) error {
	if errors.Is(err, context.Canceled) {
		return refuse("log in", err)
	}
	p := newProblem(http.StatusTooManyRequests, "too many logins failed from here or for this email: wait, and try again")
	if err != nil {
		p = newProblem(http.StatusServiceUnavailable, "too many log in at this moment: try again")
	}
	return huma.ErrorWithHeaders(p, http.Header{"Retry-After": {seconds(wait)}})
}

// auditTime bounds how long a login waits for its entry: an operator who is needed in an outage is not kept out by it.
const auditTime = 2 * time.Second

func (a *API) tell(ctx context.Context, e brain.AuditEntry) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditTime)
	defer cancel()
	if err := a.store.Audit(ctx, e); err != nil {
		slog.Error("an entry may be missing in the audit log", "action", e.Action, "actor", e.Actor, "object", e.Object, "account", e.AccountID, "err", err)
	}
}

// tellFailed writes an entry about a failed login, if one is due. What was typed as an email is not in it unless there is such a user:
// people type passwords there.
func (a *API) tellFailed(ctx context.Context, from string, u *brain.ConsoleUser) {
	if !a.login.due(from) {
		return
	}
	e := brain.AuditEntry{Actor: "nobody", Action: brain.AuditLoginFailed, Object: "unknown user", Detail: "failures from this address within a minute are one entry"}
	if u != nil {
		e.Object, e.AccountID = u.Email, u.AccountID
	}
	a.tell(ctx, e)
}
