package schema

// families returns all families that are compared, in their order. What owns other
// objects stands before them.
func families(e Expected) []family {
	list := []family{
		schemas(), extensions(), types(), relations(), sequences(), columns(), indexes(), constraints(), statistics(),
		rules(), triggers(), policies(), functions(), languages(), transforms(),
		operators(), operatorFamilies(), operatorClasses(), casts(), accessMethods(), collations(), conversions(),
		textSearchConfigurations(), textSearchDictionaries(), textSearchParsers(), textSearchTemplates(),
		foreignDataWrappers(), foreignServers(), userMappings(),
		publications(), publishedTables(), publishedSchemas(), subscriptions(), eventTriggers(), largeObjects(), securityLabels(),
	}
	if !e.Around.NoACL {
		list = append(list, defaultPrivileges(), changedPrivileges())
	}
	return list
}
