package v1_test

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sipio/sipio/brain"
)

// memory is the configuration store as the API sees it: rows by id, one account's rows hidden from
// another, HA1 digests made of passwords. It has no rules of content beyond a taken username.
type memory struct {
	mu      sync.Mutex
	rows    map[string]brain.Resource
	tokens  map[string]brain.APIKey
	version int64
	made    int

	actor   string // of the last write
	applied brain.ApplyOptions
	doc     string
	fault   error // what every read answers when set

	meanwhile func() // when set, what another brain does before a change

	audit    []brain.AuditRow // newest last
	auditOff bool             // nothing is written
	asked    brain.AuditQuery // of the last question

	meet chan struct{} // when set, a Get waits a moment for another one under way before it returns
}

func newMemory() *memory {
	return &memory{rows: map[string]brain.Resource{}, tokens: map[string]brain.APIKey{}}
}

func (m *memory) KeyByToken(token string) (brain.APIKey, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key, ok := m.tokens[token]
	return key, ok
}

func (m *memory) NewNodeKey(ctx context.Context, actor, name, node string) (string, brain.APIKey, error) {
	token, key, err := m.NewKey(ctx, actor, "", name, []brain.Scope{brain.ScopeNode})
	key.Node = node
	m.tokens[token], m.rows[key.ID] = key, &key
	return token, key, err
}

func (m *memory) NewKey(_ context.Context, actor, accountID, name string, scopes []brain.Scope) (string, brain.APIKey, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.actor = actor
	key := brain.APIKey{ID: m.id(brain.KindAPIKey), AccountID: accountID, Name: name, Scopes: scopes, Hash: "hash-of-" + name}
	token := "sk_" + key.ID
	m.tokens[token], m.rows[key.ID] = key, &key
	return token, key, nil
}

func (m *memory) id(kind brain.Kind) string {
	m.made++
	return fmt.Sprintf("%s_%06d", kind.IDPrefix(), m.made)
}

func (m *memory) Level(context.Context) error { return nil }

func (m *memory) List(_ context.Context, kind brain.Kind, accountID, after string, limit int) ([]brain.Resource, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fault != nil {
		return nil, m.fault
	}
	var out []brain.Resource
	for id, r := range m.rows {
		if r.ResourceKind() == kind && id > after && (accountID == "" || r.OwnerID() == accountID) {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b brain.Resource) int { return strings.Compare(a.ResourceID(), b.ResourceID()) })
	return out[:min(limit, len(out))], nil
}

func (m *memory) Get(_ context.Context, kind brain.Kind, accountID, id string) (brain.Resource, error) {
	r, err := m.get(kind, accountID, id)
	if m.meet != nil {
		select {
		case m.meet <- struct{}{}:
		case <-m.meet:
		case <-time.After(100 * time.Millisecond): // nobody else reads now
		}
	}
	return r, err
}

func (m *memory) get(kind brain.Kind, accountID, id string) (brain.Resource, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fault != nil {
		return nil, m.fault
	}
	r, ok := m.rows[id]
	if !ok || r.ResourceKind() != kind || (accountID != "" && r.OwnerID() != accountID) {
		return nil, brain.Errorf(brain.ENotFound, "no %s %s", kind, id)
	}
	return brain.Clone(r), nil
}

func (m *memory) Change(_ context.Context, actor string, changes ...brain.Change) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.actor = actor
	if m.meanwhile != nil {
		m.meanwhile()
	}
	for _, c := range changes {
		if c.Before != nil && !reflect.DeepEqual(m.rows[c.Before.ResourceID()], c.Before) {
			return 0, brain.Errorf(brain.EConflict, "changed meanwhile")
		}
		if err := m.taken(c); err != nil {
			return 0, err
		}
		if c.Op == brain.OpDelete {
			delete(m.rows, c.Resource.ResourceID())
			continue
		}
		if err := m.fill(c.Resource); err != nil {
			return 0, err
		}
		m.rows[c.Resource.ResourceID()] = brain.Clone(c.Resource)
	}
	m.version++
	return m.version, nil
}

// taken refuses a second user of one name in an account.
func (m *memory) taken(c brain.Change) error {
	u, ok := c.Resource.(*brain.SIPUser)
	if !ok || c.Op == brain.OpDelete {
		return nil
	}
	for _, r := range m.rows {
		if other, ok := r.(*brain.SIPUser); ok && other.ID != u.ID && other.AccountID == u.AccountID && other.Username == u.Username {
			return brain.Errorf(brain.EConflict, "username %s is taken", u.Username)
		}
	}
	return nil
}

// fill gives a new row its id, and a device its digests: of the password, or those it had.
func (m *memory) fill(r brain.Resource) error {
	id := r.ResourceID()
	if id == "" {
		id = m.id(r.ResourceKind())
	}
	reflect.ValueOf(r).Elem().FieldByName("ID").SetString(id)
	switch r := r.(type) {
	case *brain.SIPDevice:
		return m.seal(r)
	case *brain.Voicemail:
		m.sealPIN(r)
	case *brain.Secret:
		m.sealValue(r)
	case *brain.ConsoleUser:
		m.sealUser(r)
	case *brain.CallFlow:
		old, _ := m.rows[r.ID].(*brain.CallFlow)
		brain.ApplyDefaults(r)
		r.Publish(old)
	}
	return nil
}

func (m *memory) sealUser(u *brain.ConsoleUser) {
	old, _ := m.rows[u.ID].(*brain.ConsoleUser)
	brain.ApplyDefaults(u)
	switch {
	case u.Password != "":
		u.PasswordHash, u.Password = "hash-of-"+u.Password, ""
	case old != nil && u.PasswordHash == "":
		u.PasswordHash = old.PasswordHash
	}
}

func (m *memory) Audit(_ context.Context, e brain.AuditEntry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.auditOff {
		return brain.Errorf(brain.EUnavailable, "off")
	}
	m.audit = append(m.audit, brain.AuditRow{ID: fmt.Sprintf("aud_%06d", len(m.audit)+1), AuditEntry: e})
	return nil
}

func (m *memory) AuditPage(_ context.Context, q brain.AuditQuery, after string, limit int) ([]brain.AuditRow, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked = q
	var out []brain.AuditRow
	for _, r := range slices.Backward(m.audit) {
		if (after == "" || r.ID < after) && (q.AccountID == "" || q.AccountID == r.AccountID) && len(out) < limit {
			out = append(out, r)
		}
	}
	return out, nil
}

func (m *memory) sealPIN(v *brain.Voicemail) {
	old, _ := m.rows[v.ID].(*brain.Voicemail)
	switch {
	case v.PIN != "":
		v.PINHash, v.PIN = "hash-of-"+v.PIN, ""
	case old != nil && v.PINHash == "":
		v.PINHash = old.PINHash
	}
}

func (m *memory) sealValue(s *brain.Secret) {
	old, _ := m.rows[s.ID].(*brain.Secret)
	switch {
	case s.Value != "":
		s.Sealed, s.Value = "sealed-"+s.Value, ""
	case old != nil && s.Sealed == "":
		s.Sealed = old.Sealed
	}
}

func (m *memory) seal(d *brain.SIPDevice) error {
	old, _ := m.rows[d.ID].(*brain.SIPDevice)
	switch {
	case d.Password != "":
		d.HA1MD5, d.HA1SHA256, d.Password = "md5-of-"+d.Password, "sha-of-"+d.Password, ""
	case d.HA1MD5 != "" || d.HA1SHA256 != "" || old == nil:
	case d.AuthUsername != old.AuthUsername || !strings.EqualFold(d.Realm, old.Realm):
		return &brain.Error{Code: brain.EInvalid, Fields: []brain.FieldError{{Path: "password", Text: "is required"}}}
	default:
		d.HA1MD5, d.HA1SHA256 = old.HA1MD5, old.HA1SHA256
	}
	return nil
}

func (m *memory) Apply(_ context.Context, actor string, doc []byte, opt brain.ApplyOptions) (brain.Plan, int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.actor, m.applied, m.doc = actor, opt, string(doc)
	if strings.Contains(m.doc, "mistake") {
		return brain.Plan{}, 0, &brain.Error{Code: brain.EInvalid, Text: "1 mistake", Fields: []brain.FieldError{{Path: "spec.username", Line: 4, Text: "is empty"}}}
	}
	return brain.Plan{Items: []brain.PlanItem{{Op: brain.OpCreate, Kind: brain.KindSIPUser, Account: "acme", Name: "1001"}}}, m.version, nil
}

func (m *memory) Export(_ context.Context, accountID string) ([]byte, error) {
	return []byte("# account " + accountID + "\n"), nil
}

func (m *memory) Revisions(context.Context, int) ([]brain.Revision, error) {
	return []brain.Revision{{Version: 1, TimeMS: 1000, Actor: "key_1", Summary: "first"}}, nil
}

func (m *memory) Rollback(_ context.Context, actor string, rev int64, _ bool) (brain.Plan, int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.actor = actor
	return brain.Plan{}, rev, nil
}
