-- ARGV: 4 the token's id.
announce('j', ARGV[4])
return true
