package config

import (
	"fmt"
	"sync"
	"time"
	_ "time/tzdata" // the zones that exist do not depend on the machine

	"github.com/sipio/sipio/brain"
)

// zones keeps what was loaded once: there are a few hundred zones in the world.
var zones sync.Map // *time.Location by name

// loadZone returns a time zone by its IANA name.
func loadZone(name string) (*time.Location, error) {
	if zone, ok := zones.Load(name); ok {
		return zone.(*time.Location), nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" || name == "" {
		return nil, fmt.Errorf("no time zone is called %q", cut(name))
	}
	zones.Store(name, zone)
	return zone, nil
}

// zonesOf loads the zones of an account. A name that is unknown, which no change brings in, is left out:
// it counts as UTC.
func zonesOf(rows *brain.AccountRows) map[string]*time.Location {
	loaded := make(map[string]*time.Location, 1)
	add := func(name string) {
		if zone, err := loadZone(name); err == nil {
			loaded[name] = zone
		}
	}
	add(rows.Account.Timezone)
	for i := range rows.Schedules {
		if name := rows.Schedules[i].Timezone; name != "" {
			add(name)
		}
	}
	return loaded
}

// checkZone finds out whether the time zone that a resource names exists.
func checkZone(r brain.Resource) []brain.RowError {
	name := ""
	switch r := r.(type) {
	case *brain.Account:
		name = r.Timezone
	case *brain.TimeSchedule:
		name = r.Timezone
	}
	if name == "" {
		return nil
	}
	if _, err := loadZone(name); err != nil {
		return []brain.RowError{{Resource: r, FieldError: brain.FieldError{Path: "timezone", Text: err.Error()}}}
	}
	return nil
}
