package brain

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// ConsoleUser is a person who works with /v1: it logs in with an email address and a password, and may then do what its
// role says, in its account or, without one, in all of them.
type ConsoleUser struct {
	ID           string `json:"id" readOnly:"true"`
	AccountID    string `json:"account_id,omitempty" readOnly:"true" doc:"absent: a user of the platform itself"`
	Email        string `json:"email" doc:"what it logs in with: unique platform-wide, lower case"`
	Role         Role   `json:"role" enum:"admin,operator,viewer" doc:"admin: everything, also keys and users; operator: configuration and calls; viewer: reads"`
	Status       Status `json:"status,omitempty" default:"active" enum:"active,disabled" doc:"a disabled user does not log in, and its tokens are worth nothing at once"`
	Password     string `json:"password,omitempty" writeOnly:"true" doc:"12 to 128 bytes; input only: kept as an argon2id hash. A new one ends the user's tokens at once"`
	PasswordHash string `json:"password_hash,omitempty" writeOnly:"true" doc:"never returned"`
}

// KindConsoleUser is the kind of a ConsoleUser.
const KindConsoleUser Kind = "console_user"

// ResourceKind, ResourceID and OwnerID make it a Resource.
func (r *ConsoleUser) ResourceKind() Kind { return KindConsoleUser }
func (r *ConsoleUser) ResourceID() string { return r.ID }
func (r *ConsoleUser) OwnerID() string    { return r.AccountID }

// Redacted is a copy of the user without its credentials: what may be shown or logged.
func (r *ConsoleUser) Redacted() *ConsoleUser {
	shown := *r
	shown.Password, shown.PasswordHash = "", ""
	return &shown
}

// Role is what a console user may do.
type Role string

const (
	RoleAdmin    Role = "admin"
	RoleOperator Role = "operator"
	RoleViewer   Role = "viewer"
)

// Scopes are those of a role: of an account's user, or of the platform's (accountID ""). A viewer of the platform has no
// scope platform, which would let it change things; that it reads every account is for /v1 to say.
func (r Role) Scopes(accountID string) []Scope {
	scopes := []Scope{ScopeConfigRead, ScopeCallsRead, ScopeAuditRead}
	switch r {
	case RoleViewer:
		return scopes
	case RoleOperator:
		scopes = append(scopes, ScopeConfigWrite, ScopeCallsWrite)
	case RoleAdmin:
		scopes = append(scopes, ScopeConfigWrite, ScopeCallsWrite, ScopeKeys)
	default:
		return nil
	}
	if accountID == "" {
		scopes = append(scopes, ScopePlatform)
	}
	if accountID == "" && r == RoleAdmin {
		scopes = append(scopes, ScopeNode) // to make keys of node agents: nobody gives what he has not
	}
	return scopes
}

// Key is the user as the key that its tokens are as good as.
func (r *ConsoleUser) Key() APIKey {
	return APIKey{ID: r.ID, AccountID: r.AccountID, Name: r.Email, Scopes: r.Role.Scopes(r.AccountID)}
}

// IsUser says whether a key is a console user's token.
func (k *APIKey) IsUser() bool { return strings.HasPrefix(k.ID, KindConsoleUser.IDPrefix()+"_") }

// UserGrant is who gives a document with console users: nobody makes, changes or tries the password of a user that may do more than
// he may.
type UserGrant struct {
	AccountID string  // of whoever gives it, "" = the platform
	Scopes    []Scope // his
}

// Refuse says what keeps the giver from touching a user of the role in the account, "" when nothing does.
func (g UserGrant) Refuse(accountID string, role Role) string {
	switch missing := g.missing(role.Scopes(accountID)); {
	case g.AccountID != "" && g.AccountID != accountID:
		return "is not of the account of whoever asks"
	case !slices.Contains(g.Scopes, ScopeKeys):
		return fmt.Sprintf("console users need the scope %s", ScopeKeys)
	case missing != "":
		return fmt.Sprintf("role %s has the scope %s, which whoever asks lacks", role, missing)
	}
	return ""
}

func (g UserGrant) missing(scopes []Scope) Scope {
	for _, s := range scopes {
		implied := s == ScopeNode || s == ScopeAuditRead // platform keys made before there was the one are not worth less for it
		if !slices.Contains(g.Scopes, s) && !(implied && slices.Contains(g.Scopes, ScopePlatform)) {
			return s
		}
	}
	return ""
}

// Bounds of the password of a console user, in bytes.
const (
	minUserPasswordBytes = 12
	MaxUserPasswordBytes = 128
)

// CheckUserPassword says what is wrong with the password of a console user, "" when nothing is. Length is all that is asked: what is
// long enough needs no rules of characters (NIST SP 800-63B section 3.1.1.2).
func CheckUserPassword(password string) string {
	if len(password) < minUserPasswordBytes || len(password) > MaxUserPasswordBytes || !utf8.ValidString(password) {
		return fmt.Sprintf("must be %d to %d bytes of UTF-8", minUserPasswordBytes, MaxUserPasswordBytes)
	}
	return ""
}

// NormalEmail is the one spelling of an email address, by which users are found.
func NormalEmail(email string) string { return strings.ToLower(strings.TrimSpace(email)) }

func userDefaults(r *ConsoleUser) {
	fill(&r.Status, StatusActive)
	r.Email = NormalEmail(r.Email)
}

func (c *checker) consoleUser(r *ConsoleUser) {
	if r.Email == "" {
		c.add("email", "is required")
	}
	c.email("email", r.Email)
	oneOf(c, "role", r.Role, RoleAdmin, RoleOperator, RoleViewer)
	oneOf(c, "status", r.Status, StatusActive, StatusDisabled)
	c.pinHash("password_hash", r.PasswordHash)
}
