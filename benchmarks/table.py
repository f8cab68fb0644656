def table(): return ""
