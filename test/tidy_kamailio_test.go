package test

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
)

const kamailioRoot = "kamailio-cfg/kamailio.cfg"

var (
	routeDefinition = regexp.MustCompile(`\b((?:failure_|branch_|onreply_|event_)?route)\s*\[\s*"?([^"\]]+?)"?\s*\]`)
	routeCall       = regexp.MustCompile(`\b(route|route_if_exists|async_route|async_task_route|t_on_failure|t_on_branch|t_on_reply|t_on_branch_failure)\s*\(\s*("[^"]*"|[^",)]*)`)
	routeParameter  = regexp.MustCompile(`[";]\s*route=([A-Za-z0-9_:-]+)`) // modparam("rtimer", "exec", "timer=x;route=NAME")
	includedFile    = regexp.MustCompile(`(?m)^\s*(?:#!)?(?:include|import)_file\s+"([^"]+)"`)
)

// definedBy says what kind of route each function of Kamailio arms or calls.
var definedBy = map[string]string{
	"route": "route", "route_if_exists": "route", "async_route": "route", "async_task_route": "route",
	"t_on_failure": "failure_route", "t_on_branch": "branch_route", "t_on_reply": "onreply_route", "t_on_branch_failure": "event_route",
}

// kamailioFindings compares the routes that are called with those that are defined, over the files that
// kamailio.cfg loads, and lists the files that it does not load. Event routes are called by Kamailio itself.
func kamailioFindings(files map[string]string) []string {
	texts := map[string]string{}
	for p, content := range files {
		texts[p] = stripKamailioComments(content)
	}
	loaded := map[string]bool{}
	loadKamailio(texts, kamailioRoot, loaded)

	var out []string
	defined, called := map[string]string{}, map[string]string{} // "failure_route[X]" → file:line
	for _, p := range slices.Sorted(maps.Keys(texts)) {
		if !loaded[p] {
			out = append(out, p+": "+kamailioRoot+" does not include it, so nothing in it is there")
			continue
		}
		for _, m := range routeDefinition.FindAllStringSubmatchIndex(texts[p], -1) {
			defined[texts[p][m[2]:m[3]]+"["+texts[p][m[4]:m[5]]+"]"] = place(p, texts[p], m[0])
		}
		out = append(out, kamailioCalls(p, texts[p], called)...)
	}
	for _, name := range slices.Sorted(maps.Keys(called)) {
		if defined[name] == "" {
			out = append(out, called[name]+": "+name+" is called and defined nowhere: Kamailio starts all the same, and the call goes wrong")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(defined)) {
		if called[name] == "" && !strings.HasPrefix(name, "event_route") {
			out = append(out, defined[name]+": "+name+" is defined and called by nobody")
		}
	}
	return out
}

// kamailioCalls adds the routes that a file calls to called, and returns the calls that cannot be checked.
func kamailioCalls(p, text string, called map[string]string) []string {
	var out []string
	for _, m := range routeCall.FindAllStringSubmatchIndex(text, -1) {
		function, name := text[m[2]:m[3]], strings.Trim(strings.TrimSpace(text[m[4]:m[5]]), `"`)
		switch {
		case strings.Contains(name, "$"):
			out = append(out, place(p, text, m[0])+": a route name made at run time cannot be checked: "+name)
		case name == "0" && function != "route": // disarms
		case function == "t_on_branch_failure":
			called["event_route[tm:branch-failure:"+name+"]"] = place(p, text, m[0])
		default:
			called[definedBy[function]+"["+name+"]"] = place(p, text, m[0])
		}
	}
	for _, m := range routeParameter.FindAllStringSubmatchIndex(text, -1) {
		called["route["+text[m[2]:m[3]]+"]"] = place(p, text, m[0])
	}
	return out
}

// loadKamailio follows the includes of a file. What is not in the repository is the node's own.
func loadKamailio(texts map[string]string, p string, loaded map[string]bool) {
	text, there := texts[p]
	if !there || loaded[p] {
		return
	}
	loaded[p] = true
	for _, m := range includedFile.FindAllStringSubmatch(text, -1) {
		loadKamailio(texts, path.Join(path.Dir(p), m[1]), loaded)
	}
}

func place(p, text string, offset int) string {
	return fmt.Sprintf("%s:%d", p, 1+strings.Count(text[:offset], "\n"))
}

// stripKamailioComments blanks #, // and /* */ comments outside strings and keeps the lines. Directives
// of the preprocessor (#!) stay.
func stripKamailioComments(text string) string {
	var out strings.Builder
	for i := 0; i < len(text); {
		rest := text[i:]
		n := 1
		switch {
		case rest[0] == '"' || rest[0] == '\'':
			n = quotedLength(rest)
		case strings.HasPrefix(rest, "#!"):
			n = 2
		case rest[0] == '#' || strings.HasPrefix(rest, "//"):
			i += lengthUpTo(rest, "\n")
			continue
		case strings.HasPrefix(rest, "/*"):
			end := min(len(rest), 2+lengthUpTo(rest[2:], "*/")+2)
			out.WriteString(strings.Repeat("\n", strings.Count(rest[:end], "\n")))
			i += end
			continue
		}
		out.WriteString(rest[:n])
		i += n
	}
	return out.String()
}

// quotedLength is the length of the string that text begins with, both quotes included.
func quotedLength(text string) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case text[0]:
			return i + 1
		}
	}
	return len(text)
}

func lengthUpTo(text, end string) int {
	if i := strings.Index(text, end); i >= 0 {
		return i
	}
	return len(text)
}
