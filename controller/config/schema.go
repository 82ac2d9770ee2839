package config

import (
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"reflect"
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

// columns lists the fields of a kind that are columns of its table: all but the password, which is
// never stored, and the members, which have a table of their own.
func columns(k brain.Kind) []field {
	var cols []field
	for _, f := range fields[k] {
		if f.name != "password" && f.name != "members" {
			cols = append(cols, f)
		}
	}
	return cols
}

// cell carries one field of a resource to and from its column: booleans as 0 and 1, lists as JSON,
// an absent reference as NULL.
type cell struct {
	reflect.Value
	nullable bool // "" is NULL
}

func cellOf(r brain.Resource, f field) *cell {
	nullable := f.name == "account_id" && r.ResourceKind() == brain.KindAPIKey
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
	case reflect.Int:
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
		return c.Elem().String(), nil
	case reflect.Slice:
		if c.Len() == 0 {
			return "[]", nil
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
			c.SetInt(v)
		}
		return nil
	case string:
		switch c.Kind() {
		case reflect.String:
			c.SetString(v)
			return nil
		case reflect.Pointer:
			c.Set(reflect.ValueOf(&v))
			return nil
		case reflect.Slice:
			if v == "[]" {
				return nil
			}
			return json.Unmarshal([]byte(v), c.Addr().Interface())
		}
	}
	return fmt.Errorf("a column of type %T does not fit", src)
}

// nameOf is what people call the resource: its name in the declarative file.
func nameOf(r brain.Resource) string {
	switch r := r.(type) {
	case *brain.Account:
		return r.Name
	case *brain.SIPDomain:
		return r.Domain
	case *brain.SIPUser:
		return r.Username
	case *brain.SIPDevice:
		return r.AuthUsername + "@" + r.Realm
	case *brain.Extension:
		return r.Digits
	case *brain.RingGroup:
		return r.Name
	case *brain.Node:
		return r.Name
	case *brain.APIKey:
		return r.Name
	case *brain.CallLimit:
		return r.Name
	}
	return ""
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
	case *brain.Node:
		r.Name = name
	case *brain.CallLimit:
		r.Name = name
	}
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
	}
	return field == "name"
}

// nameKey is the form under which two spellings of one name are the same: domains have no case.
func nameKey(k brain.Kind, name string) string {
	switch k {
	case brain.KindSIPDomain:
		return strings.ToLower(name)
	case brain.KindSIPDevice:
		at := max(strings.LastIndexByte(name, '@'), 0)
		return name[:at] + strings.ToLower(name[at:])
	}
	return name
}

// eachReference calls visit for each field of the resource that names another one: its path, the kind
// it names, and the field itself.
func eachReference(r brain.Resource, visit func(path string, kind brain.Kind, ref *string)) {
	dest := func(prefix string, kind brain.DestKind, id *string) {
		switch kind {
		case brain.DestUser:
			visit(prefix+"dest_id", brain.KindSIPUser, id)
		case brain.DestExtension:
			visit(prefix+"dest_id", brain.KindExtension, id)
		case brain.DestRingGroup:
			visit(prefix+"dest_id", brain.KindRingGroup, id)
		}
	}
	switch r := r.(type) {
	case *brain.Account:
		if r.ParentID != nil {
			visit("parent_id", brain.KindAccount, r.ParentID)
		}
	case *brain.SIPUser:
		dest("fwd_always_", r.FwdAlwaysDestKind, &r.FwdAlwaysDestID)
		dest("fwd_busy_", r.FwdBusyDestKind, &r.FwdBusyDestID)
		dest("fwd_noanswer_", r.FwdNoanswerDestKind, &r.FwdNoanswerDestID)
	case *brain.SIPDevice:
		visit("user_id", brain.KindSIPUser, &r.UserID)
	case *brain.Extension:
		dest("", r.DestKind, &r.DestID)
	case *brain.RingGroup:
		for i := range r.Members {
			visit(fmt.Sprintf("members[%d].user_id", i), brain.KindSIPUser, &r.Members[i].UserID)
		}
		dest("overflow_", r.OverflowDestKind, &r.OverflowDestID)
	case *brain.CallLimit:
		switch r.ScopeKind {
		case brain.LimitUser:
			visit("scope_id", brain.KindSIPUser, &r.ScopeID)
		case brain.LimitAccount:
			visit("scope_id", brain.KindAccount, &r.ScopeID)
		}
	}
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
