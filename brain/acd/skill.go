package acd

import (
	"slices"
	"strconv"
	"strings"
)

// sortSkills puts skills in order, each once at its highest level; levels below 1 are none.
func sortSkills(skills []Skill) []Skill {
	skills = slices.DeleteFunc(slices.Clone(skills), func(s Skill) bool { return s.Name == "" || s.Level < 1 })
	slices.SortFunc(skills, func(a, b Skill) int {
		if n := strings.Compare(a.Name, b.Name); n != 0 {
			return n
		}
		return b.Level - a.Level
	})
	return slices.CompactFunc(skills, func(a, b Skill) bool { return a.Name == b.Name })
}

// can tells whether skills, sorted, are enough for needs, sorted.
func can(skills, needs []Skill) bool {
	for _, n := range needs {
		for len(skills) > 0 && skills[0].Name < n.Name {
			skills = skills[1:]
		}
		if len(skills) == 0 || skills[0].Name != n.Name || skills[0].Level < n.Level {
			return false
		}
	}
	return true
}

// relaxed is what is still needed after a wait: all steps whose time has come, one after the other.
func relaxed(needs []Skill, steps []Relax, waitMS int64) []Skill {
	if len(needs) == 0 || !slices.ContainsFunc(steps, func(x Relax) bool { return x.AfterMS <= waitMS }) {
		return needs
	}
	needs = slices.Clone(needs)
	for _, x := range steps {
		if x.AfterMS > waitMS {
			continue
		}
		for i := range needs {
			switch {
			case x.Skill != "" && x.Skill != needs[i].Name:
			case x.Drop:
				needs[i].Level = 0
			default:
				needs[i].Level -= x.LowerBy
			}
		}
	}
	return slices.DeleteFunc(needs, func(s Skill) bool { return s.Level < 1 })
}

// nextRelax is the wait at which the next step comes after a wait; never when there is none.
func nextRelax(steps []Relax, waitMS int64) int64 {
	next := never
	for _, x := range steps {
		if x.AfterMS > waitMS {
			next = min(next, x.AfterMS)
		}
	}
	return next
}

// needsName tells needs apart.
func needsName(needs []Skill) string {
	if len(needs) == 0 {
		return ""
	}
	var b []byte
	for _, s := range needs {
		b = strconv.AppendInt(append(strconv.AppendQuote(b, s.Name), ':'), int64(s.Level), 10)
	}
	return string(b)
}
