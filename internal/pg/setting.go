package pg

import "strings"

// SettingSQL turns a setting as the catalog keeps it, name=value, into the end of
// ALTER … SET. Settings that are lists of names are kept as text of quoted names.
func SettingSQL(entry string) string {
	name, value, _ := strings.Cut(entry, "=")
	quoted := `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
	switch name {
	case "search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries", "shared_preload_libraries", "unix_socket_directories":
		return "SET " + quoted + " TO " + strings.Join(settingNames(value), ", ")
	}
	return "SET " + quoted + " TO " + QuoteLiteral(value)
}

// settingNames cuts a list of names and returns each as a constant.
func settingNames(value string) []string {
	var names []string
	var name strings.Builder
	quoted := false
	for i := 0; i < len(value); i++ {
		c := value[i]
		switch {
		case c == '"' && quoted && strings.HasPrefix(value[i+1:], `"`):
			i++
			name.WriteByte(c)
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			names = append(names, QuoteLiteral(name.String()))
			name.Reset()
		case quoted || c != ' ':
			name.WriteByte(c)
		}
	}
	return append(names, QuoteLiteral(name.String()))
}
