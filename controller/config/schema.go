package config

import (
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/sipio/sipio/brain"
)

// field is one field of a resource type: its name is the one in JSON, SQL and YAML.
type field struct {
	name  string
	index int
}

// fields lists the fields of each kind in the order of the Go type.
var fields = func() map[brain.Kind][]field {
	all := make(map[brain.Kind][]field, len(brain.Kinds))
	for _, k := range brain.Kinds {
		t := reflect.TypeOf(brain.NewResource(k)).Elem()
		for i := range t.NumField() {
			name := jsonName(t.Field(i))
			if t.Field(i).Name == "Hash" {
				name = "hash" // in SQL; JSON never shows it
			}
			all[k] = append(all[k], field{name, i})
		}
	}
	return all
}()

// unstored fields have no column: secrets as they were given, and the members, which have a table of their own.
var unstored = []string{"password", "pin", "moderator_pin", "value", "members", "agent_token", "access_client_secret"}

// columns lists the fields of a kind that are columns of its table.
func columns(k brain.Kind) []field {
	var cols []field
	for _, f := range fields[k] {
		if !slices.Contains(unstored, f.name) {
			cols = append(cols, f)
		}
	}
	return cols
}

// readOnly lists the fields of a kind that only the store or the platform writes, never a document.
var readOnly = func() map[brain.Kind][]field {
	all := make(map[brain.Kind][]field)
	for k, list := range fields {
		t := reflect.TypeOf(brain.NewResource(k)).Elem()
		for _, f := range list {
			if t.Field(f.index).Tag.Get("readOnly") == "true" && f.name != "id" && f.name != "account_id" {
				all[k] = append(all[k], f)
			}
		}
	}
	return all
}()

func isReadOnly(k brain.Kind, name string) bool {
	return slices.ContainsFunc(readOnly[k], func(f field) bool { return f.name == name })
}

// keepReadOnly gives a resource what only the platform writes: as before has it, else the default.
func keepReadOnly(before, r brain.Resource) {
	if before == nil {
		before = brain.NewResource(r.ResourceKind())
	}
	from, to := reflect.ValueOf(brain.Clone(before)).Elem(), reflect.ValueOf(r).Elem()
	for _, f := range readOnly[r.ResourceKind()] {
		to.Field(f.index).Set(from.Field(f.index))
	}
}

// cell carries one field of a resource to and from its column: booleans as 0 and 1, an absent reference as
// NULL, lists, maps and structs as JSON.
type cell struct {
	reflect.Value
	nullable bool // "" is NULL
}

func cellOf(r brain.Resource, f field) *cell {
	nullable := f.name == "account_id" && maybePlatform(r.ResourceKind())
	return &cell{reflect.ValueOf(r).Elem().Field(f.index), nullable}
}

// column gives database/sql what to write.
func (c *cell) column() (driver.Value, error) {
	switch c.Kind() {
	case reflect.String:
		if c.nullable && c.String() == "" {
			return nil, nil
		}
		return c.String(), nil
	case reflect.Int, reflect.Int64:
		return c.Int(), nil
	case reflect.Bool:
		if c.Bool() {
			return int64(1), nil
		}
		return int64(0), nil
	case reflect.Pointer:
		if c.IsNil() {
			return nil, nil
		}
		return (&cell{Value: c.Elem()}).column()
	case reflect.Slice:
		if c.Len() == 0 {
			return "[]", nil
		}
		text, err := json.Marshal(c.Interface())
		return string(text), err
	case reflect.Map, reflect.Struct:
		if c.IsZero() {
			return "{}", nil // not null
		}
		text, err := json.Marshal(c.Interface())
		return string(text), err
	}
	return nil, fmt.Errorf("no column for a %s", c.Kind())
}

// Scan takes what database/sql has read (sql.Scanner).
func (c *cell) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		c.SetZero()
		return nil
	case int64:
		if c.Kind() == reflect.Bool {
			c.SetBool(v != 0)
		} else {
			c.pointed().SetInt(v)
		}
		return nil
	case string:
		switch c.Kind() {
		case reflect.String, reflect.Pointer:
			c.pointed().SetString(v)
			return nil
		case reflect.Slice:
			if v == "[]" {
				return nil
			}
			return json.Unmarshal([]byte(v), c.Addr().Interface())
		case reflect.Map, reflect.Struct:
			if v == "{}" {
				return nil
			}
			return json.Unmarshal([]byte(v), c.Addr().Interface())
		}
	}
	return fmt.Errorf("a column of type %T does not fit", src)
}

// pointed is what an optional field holds from now on; of any other it is the field itself.
func (c *cell) pointed() reflect.Value {
	if c.Kind() != reflect.Pointer {
		return c.Value
	}
	c.Set(reflect.New(c.Type().Elem()))
	return c.Elem()
}

// setName writes the name of the declarative file into the fields it stands for.
func setName(r brain.Resource, name string) {
	switch r := r.(type) {
	case *brain.Account:
		r.Name = name
	case *brain.SIPDomain:
		r.Domain = name
	case *brain.SIPUser:
		r.Username = name
	case *brain.SIPDevice:
		at := max(strings.LastIndexByte(name, '@'), 0)
		r.AuthUsername, r.Realm = name[:at], strings.TrimPrefix(name[at:], "@")
	case *brain.Extension:
		r.Digits = name
	case *brain.RingGroup:
		r.Name = name
	case *brain.RatePlan:
		r.Name = name
	case *brain.ConsoleUser:
		r.Email = name
	case *brain.Node:
		r.Name = name
	case *brain.CallLimit:
		r.Name = name
	case *brain.DID:
		r.E164 = name
	case *brain.TimeSchedule:
		r.Name = name
	case *brain.CallFlow:
		r.Name = name
	case *brain.SIPTrunk:
		r.Name = name
	case *brain.OutboundRoute:
		r.Name = name
	case *brain.Forward:
		r.Name = name
	case *brain.Secret:
		r.Name = name
	case *brain.Voicemail:
		r.Name = name
	case *brain.Conference:
		r.Name = name
	case *brain.MediaFile:
		r.Name = name
	case *brain.MediaPlaylist:
		r.Name = name
	case *brain.Queue:
		r.Name = name
	case *brain.AgentQueueAssignment:
		r.QueueID, r.UserID = cutName(name)
	case *brain.InQueueOption:
		r.QueueID, r.Digit = cutName(name)
	}
}

// cutName takes the name of what belongs to a queue apart. Neither usernames nor digits have a slash.
func cutName(name string) (queue, rest string) {
	at := max(strings.LastIndexByte(name, '/'), 0)
	return name[:at], strings.TrimPrefix(name[at:], "/")
}

// called is nameOf with the names of others in the place of their ids.
func called(r brain.Resource, get func(k brain.Kind, owner, id string) brain.Resource) string {
	switch r.(type) {
	case *brain.AgentQueueAssignment, *brain.InQueueOption:
		return brain.NameOf(named(r, get))
	}
	return brain.NameOf(r)
}

// isName says whether the field is part of the resource's name.
func isName(k brain.Kind, field string) bool {
	switch k {
	case brain.KindSIPDomain:
		return field == "domain"
	case brain.KindSIPUser:
		return field == "username"
	case brain.KindSIPDevice:
		return field == "auth_username" || field == "realm"
	case brain.KindExtension:
		return field == "digits"
	case brain.KindConsoleUser:
		return field == "email"
	case brain.KindDID:
		return field == "e164"
	case brain.KindAgentQueueAssignment:
		return field == "queue_id" || field == "user_id"
	case brain.KindInQueueOption:
		return field == "queue_id" || field == "digit"
	}
	return field == "name"
}

// repeatsName says whether a document may give the field beside its name, as long as the two agree: it is a reference,
// which a reader looks for among the others.
func repeatsName(k brain.Kind, field string) bool {
	return isName(k, field) && (field == "queue_id" || field == "user_id")
}

// nameKey is the form under which two spellings of one name are the same: domains and addresses of mail have no case.
func nameKey(k brain.Kind, name string) string {
	switch k {
	case brain.KindSIPDomain:
		return strings.ToLower(name)
	case brain.KindConsoleUser:
		return brain.NormalEmail(name)
	case brain.KindSIPDevice:
		at := max(strings.LastIndexByte(name, '@'), 0)
		return name[:at] + strings.ToLower(name[at:])
	}
	return name
}

// setOwner writes the account of a tenant row.
func setOwner(r brain.Resource, accountID string) { setField(r, "account_id", accountID) }

func setID(r brain.Resource, id string) { setField(r, "id", id) }

func setField(r brain.Resource, name, value string) {
	for _, f := range fields[r.ResourceKind()] {
		if f.name == name {
			reflect.ValueOf(r).Elem().Field(f.index).SetString(value)
		}
	}
}

// assign copies one resource over another of the same kind.
func assign(dst, src brain.Resource) {
	reflect.ValueOf(dst).Elem().Set(reflect.ValueOf(src).Elem())
}

func same(a, b brain.Resource) bool { return reflect.DeepEqual(a, b) }

// jsonName is the name of a field in JSON, SQL and YAML.
func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}
