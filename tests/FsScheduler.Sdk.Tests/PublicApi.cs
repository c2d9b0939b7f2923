using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text;

namespace FsScheduler.Sdk.Tests;

/// <summary>The public surface of an assembly: what others may call, or override.</summary>
internal static class PublicApi
{
    private const BindingFlags Declared =
        BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly;

    private static readonly NullabilityInfoContext Nullability = new();

    /// <summary>A line for each type and each member, sorted. What the compiler makes for a record is left out.</summary>
    public static string Describe(Assembly assembly)
    {
        var text = new StringBuilder();

        foreach (var type in assembly.GetExportedTypes().OrderBy(type => type.FullName, StringComparer.Ordinal))
        {
            var bases = new[] { type.BaseType }
                .Concat(type.GetInterfaces().Where(each => each.IsVisible && !each.Name.StartsWith("IEquatable", StringComparison.Ordinal)))
                .OfType<Type>()
                .Where(each => each != typeof(object) && !type.IsEnum)
                .Select(type => Name(type))
                .Order(StringComparer.Ordinal);
            text.Append(Kind(type)).Append(' ').Append(Name(type));
            text.Append(bases.Any() ? $" : {string.Join(", ", bases)}" : "").Append('\n');

            foreach (var line in Shown(type).Select(Line).Order(StringComparer.Ordinal))
            {
                text.Append("    ").Append(line).Append('\n');
            }
        }

        return text.ToString();
    }

    /// <summary>Every type that stands in the surface, also inside of generic ones; those of the records' own members too.</summary>
    public static HashSet<Type> TypesShown(Assembly assembly)
    {
        var types = new HashSet<Type>();

        void Add(Type? type)
        {
            if (type is null || !types.Add(type))
            {
                return;
            }

            Add(type.GetElementType());

            foreach (var argument in type.GetGenericArguments())
            {
                Add(argument);
            }
        }

        foreach (var type in assembly.GetExportedTypes())
        {
            Add(type.BaseType);
            Array.ForEach(Array.FindAll(type.GetInterfaces(), each => each.IsVisible), Add);

            foreach (var member in type.GetMembers(Declared).Where(IsShown))
            {
                switch (member)
                {
                    case FieldInfo field:
                        Add(field.FieldType);
                        break;
                    case PropertyInfo property:
                        Add(property.PropertyType);
                        break;
                    case MethodBase method:
                        Add((method as MethodInfo)?.ReturnType);
                        Array.ForEach(method.GetParameters(), parameter => Add(parameter.ParameterType));
                        break;
                }
            }
        }

        return types;
    }

    private static IEnumerable<MemberInfo> Shown(Type type) =>
        type.GetMembers(Declared).Where(member =>
            IsShown(member)
            && member.GetCustomAttribute<CompilerGeneratedAttribute>() is null
            && member is not MethodInfo { IsSpecialName: true }
            && member is not FieldInfo { IsSpecialName: true }
            && member is not TypeInfo);

    private static bool IsShown(MemberInfo member) =>
        member switch
        {
            MethodBase method => method.IsPublic || method.IsFamily || method.IsFamilyOrAssembly,
            FieldInfo field => field.IsPublic || field.IsFamily || field.IsFamilyOrAssembly,
            PropertyInfo property => property.GetAccessors(nonPublic: true).Any(IsShown),
            _ => false,
        };

    private static string Line(MemberInfo member) =>
        member switch
        {
            ConstructorInfo method => $"new({Parameters(method)})",
            MethodInfo method => $"{Modifiers(method)}{Name(method.ReturnType, Nullability.Create(method.ReturnParameter))} "
                + $"{method.Name}{Generics(method)}({Parameters(method)}){Constraints(method)}",
            PropertyInfo property => Property(property),
            FieldInfo { IsLiteral: true } field => $"{field.Name} = {field.GetRawConstantValue()}",
            FieldInfo field => $"{Name(field.FieldType)} {field.Name}",
            _ => member.ToString()!,
        };

    private static string Property(PropertyInfo property)
    {
        var get = property.GetMethod is { } getter && IsShown(getter) ? "get; " : "";
        var set = property.SetMethod is { } setter && IsShown(setter)
            ? setter.ReturnParameter.GetRequiredCustomModifiers().Contains(typeof(IsExternalInit)) ? "init; " : "set; "
            : "";
        var required = property.GetCustomAttribute<RequiredMemberAttribute>() is null ? "" : "required ";
        var type = Name(property.PropertyType, Nullability.Create(property));
        return $"{Modifiers(property.GetMethod ?? property.SetMethod!)}{required}{type} {property.Name} {{ {get}{set}}}";
    }

    private static string Modifiers(MethodInfo method)
    {
        var scope = method.IsPublic ? "" : "protected ";
        var kind = method.IsStatic ? "static "
            : method.DeclaringType!.IsInterface ? ""
            : method.IsAbstract ? "abstract "
            : method.GetBaseDefinition() != method ? "override "
            : method is { IsVirtual: true, IsFinal: false } ? "virtual "
            : "";
        return scope + kind;
    }

    private static string Generics(MethodInfo method) =>
        method.IsGenericMethod ? $"<{string.Join(", ", method.GetGenericArguments().Select(type => Name(type)))}>" : "";

    private static string Parameters(MethodBase method) =>
        string.Join(", ", method.GetParameters().Select(parameter =>
        {
            var type = Name(parameter.ParameterType, Nullability.Create(parameter));
            return $"{type} {parameter.Name}{(parameter.IsOptional ? " = default" : "")}";
        }));

    private static string Constraints(MethodInfo method) =>
        string.Concat(method.GetGenericArguments().Where(_ => method.IsGenericMethod).Select(argument =>
        {
            var isClass = argument.GenericParameterAttributes.HasFlag(GenericParameterAttributes.ReferenceTypeConstraint);
            var all = (isClass ? ["class"] : Array.Empty<string>()).Concat(argument.GetGenericParameterConstraints().Select(type => Name(type)));
            return all.Any() ? $" where {argument.Name} : {string.Join(", ", all)}" : "";
        }));

    private static string Kind(Type type) =>
        type.IsEnum ? "enum"
        : type.IsInterface ? "interface"
        : type is { IsAbstract: true, IsSealed: true } ? "static class"
        : type.IsAbstract ? "abstract class"
        : type.IsSealed ? "sealed class"
        : "class";

    /// <param name="type">Any.</param>
    /// <param name="nulls">Where there may be null in it, if that is known. Of a parameter of a generic type it is not.</param>
    private static string Name(Type type, NullabilityInfo? nulls = null)
    {
        if (type.IsGenericParameter)
        {
            return type.Name;
        }

        var outer = type.DeclaringType is { } declaring ? $"{Name(declaring)}." : type.Namespace == "FsScheduler.Sdk" ? $"{type.Namespace}." : "";
        var name = outer + type.Name.Split('`')[0];
        var question = nulls?.ReadState == NullabilityState.Nullable && !type.IsValueType ? "?" : "";
        var inner = type.GetGenericArguments().Select((each, index) => Name(each, nulls?.GenericTypeArguments.ElementAtOrDefault(index)));
        return (type.IsGenericType ? $"{name}<{string.Join(", ", inner)}>" : name) + question;
    }
}
